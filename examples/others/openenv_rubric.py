"""OpenEnv (openenv 0.10): an environment's own rubric, and the memory's reward for the whole episode on top of it.

rubric = MemoryRubric(MyRubric(), prompt=lambda o: o.question, said=lambda a: a.message)     # in the environment

Set MEMR_URL, MEMR_RUN and MEMR_GROUP_SIZE (episodes per prompt).
"""

import os
from collections.abc import Callable
from typing import Any

from memr_client import RewardClient
from openenv.core.rubrics import Rubric

memory = RewardClient(os.environ["MEMR_URL"], run=os.environ["MEMR_RUN"])
memory.create_run(barrier="snapshot", group_size=int(os.environ["MEMR_GROUP_SIZE"]))


class MemoryRubric(Rubric):
    """One for each environment, since it keeps the episode. Each step is a message; the last step is paid."""

    def __init__(self, outcome: Rubric, prompt: Callable, said: Callable, mode: str = "train") -> None:
        super().__init__()
        self.outcome, self.prompt, self.said, self.mode = outcome, prompt, said, mode
        self.reset()

    def forward(self, action: Any, observation: Any) -> float:
        self.turns.append({"role": "assistant", "content": self.said(action)})
        reward = self.outcome(action, observation)
        if observation.done:
            prompt, self.earned = self.prompt(observation), self.earned + reward
            return reward + memory.reward([prompt], [self.turns], [self.earned], mode=self.mode).rewards[0]
        self.earned += reward
        return reward

    def reset(self) -> None:
        self.turns, self.earned = [], 0.0
        self.outcome.reset()
