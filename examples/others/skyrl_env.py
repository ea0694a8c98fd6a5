"""SkyRL (skyrl-gym 0.4): an environment that adds the memory's reward to its own.

skyrl_gym.register(id="gsm8k-memr", entry_point="skyrl_env:MemoryGSM8k")      # before training

Set MEMR_URL, MEMR_RUN and MEMR_GROUP_SIZE (generator.n_samples_per_prompt).
"""

import os
from typing import Any

from memr_client import RewardClient
from skyrl_gym.envs.gsm8k.env import GSM8kEnv

memory = RewardClient(os.environ["MEMR_URL"], run=os.environ["MEMR_RUN"])
memory.create_run(barrier="snapshot", group_size=int(os.environ["MEMR_GROUP_SIZE"]))


class MemoryGSM8k(GSM8kEnv):
    """One trajectory. SkyRL steps many at once in threads, where none may wait for its group: barrier="snapshot"."""

    def __init__(self, env_config: Any = None, extras: Any = None) -> None:
        super().__init__(env_config, extras)
        self.mode = "train" if extras["extra_info"]["split"] == "train" else "eval"

    def init(self, prompt: Any) -> Any:
        self.prompt = prompt
        return super().init(prompt)

    def step(self, action: str) -> Any:
        output = super().step(action)
        reward = memory.reward([self.prompt], [action], [output["reward"]], mode=self.mode).rewards[0]
        self.parts = {"outcome": output["reward"], "memory_reward": reward}
        return {**output, "reward": output["reward"] + reward}

    def get_metrics(self) -> dict[str, float]:
        return self.parts
