"""SkyRL (skyrl-gym 0.4): an environment whose reward has the memory's added to it.

skyrl_gym.register(id="gsm8k-memr", entry_point="skyrl_env:MemoryGSM8k")      # before training

MEMR_URL, MEMR_RUN and MEMR_GROUP_SIZE (generator.n_samples_per_prompt) are set.
"""

import os
from typing import Any

from memr_client import RewardClient
from skyrl_gym.envs.gsm8k.env import GSM8kEnv

memory = RewardClient(os.environ["MEMR_URL"], run=os.environ["MEMR_RUN"])
memory.create_run(barrier="snapshot", group_size=int(os.environ["MEMR_GROUP_SIZE"]))


class MemoryGSM8k(GSM8kEnv):
    """One trajectory. SkyRL steps many at once, in threads, so that none waits for its group: barrier="snapshot"."""

    def __init__(self, env_config: Any = None, extras: Any = None) -> None:
        super().__init__(env_config, extras)
        self.mode = "train" if extras["extra_info"]["split"] == "train" else "eval"

    def init(self, prompt: Any) -> Any:
        self.prompt = prompt
        return super().init(prompt)

    def step(self, action: str) -> Any:
        told = super().step(action)
        reward = memory.reward([self.prompt], [action], [told["reward"]], mode=self.mode).rewards[0]
        self.parts = {"outcome": told["reward"], "memory_reward": reward}
        return {**told, "reward": told["reward"] + reward}

    def get_metrics(self) -> dict[str, float]:
        return self.parts
