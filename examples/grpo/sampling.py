"""Which questions a step asks, and what it learns from their completions: `Shuffled`, or `Planned` by the memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from memr_client import RewardClient
from torch import Tensor

from examples.grpo.config import Config
from examples.grpo.policy import Policy
from examples.grpo.rewards import Rewards
from examples.grpo.rollout import Rollout
from examples.grpo.tasks.task import Question, Task


class Sampling(Protocol):
    """Chooses a step's questions. One that keeps something between steps cannot continue from a checkpoint."""

    def questions(self, step: int) -> list[Question]:
        """The questions of a step, which is 0, 1, ..."""

    def lessons(self, sampled: Rollout, rewards: Rewards, advantages: Tensor) -> tuple[Rollout, Tensor] | None:
        """The completions to learn from, with their advantages; None: no update in this step."""


MakeSampling = Callable[[Config, Task, Policy, RewardClient | None], Sampling]


class Shuffled:
    """Each epoch has every question once, in a new random order. A step learns from all of its completions."""

    def __init__(self, config: Config, task: Task, policy: Policy, memory: RewardClient | None) -> None:
        self.config, self.task, self.policy, self.memory = config, task, policy, memory

    def questions(self, step: int) -> list[Question]:
        """The next questions of the endless order."""
        first = step * self.config.prompts_per_step
        return [self.question(number) for number in range(first, first + self.config.prompts_per_step)]

    def lessons(self, sampled: Rollout, rewards: Rewards, advantages: Tensor) -> tuple[Rollout, Tensor] | None:
        """All of them."""
        return sampled, advantages

    def question(self, number: int) -> Question:
        """A question of the endless order, by its place in it."""
        questions = self.task.train
        epoch, within = divmod(number, len(questions))
        order = list(range(len(questions)))
        random.Random(f"order {self.config.seed} {epoch}").shuffle(order)
        return questions[order[within]]


class Planned(Shuffled):
    """A step asks what the memory plans, from all that it knows by now."""

    run: str | None = None
    """The run that plans. Default: the training's own."""

    def __init__(self, config: Config, task: Task, policy: Policy, memory: RewardClient | None) -> None:
        super().__init__(config, task, policy, memory)
        self.distinct = [*{question.text: question for question in task.train}.values()]

    def questions(self, step: int) -> list[Question]:
        """The questions of the plan, the best first."""
        assert self.memory is not None  # `open_memory` makes one for a plan
        if step == 0:  # later ones find it in the memory, also after a resume
            self.set_pool(self.memory)
        plan = self.memory.plan(self.run, self.config.prompts_per_step, self.config.group_size, step=step)
        return [self.distinct[int(pick.prompt_id)] for pick in plan.picks]

    def set_pool(self, memory: RewardClient) -> None:
        """Let the run plan from the training questions, each known by its number."""
        memory.set_pool(self.run, [*range(len(self.distinct))], [question.text for question in self.distinct])


def of_config(config: Config, task: Task, policy: Policy, memory: RewardClient | None) -> Sampling:
    """The sampling that a config asks for."""
    return (Planned if config.plan else Shuffled)(config, task, policy, memory)
