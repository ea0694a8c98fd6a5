"""Other ways to choose questions and groups, to compare a plan with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import fields

import torch
from memr_client import RewardClient
from torch import Tensor

from examples.grpo.config import Config
from examples.grpo.policy import Policy
from examples.grpo.rewards import Rewards, memory_config
from examples.grpo.rollout import Rollout, rollout
from examples.grpo.sampling import Planned, Shuffled
from examples.grpo.tasks.task import Question, Task

FIRST_P, CHANGE, LEAST_KEPT = 0.5, 0.01, 0.01
"""GRESO: the first p of solved and of impossible questions, its change, and the least probability to ask."""
LEAST_P, MOST_P = 0.05, 0.95
TARGETS = {"solved": 0.25 / 3, "impossible": 0.25 * 2 / 3}
"""GRESO: shares of groups without spread above which more is skipped."""

SAMPLES, EVERY = 8, 20
"""Oracle: completions of every question, and the steps between two of its looks."""


class DynamicSampling(Shuffled):
    """Only groups with spread are learned from, once a step's number of them is there; what is over is thrown away.

    Dynamic sampling of DAPO (Yu et al. 2025, arXiv 2503.14476), section 3.2. Every completion counts: a training has as
    many as without, and so fewer updates.
    """

    def __init__(self, config: Config, task: Task, policy: Policy, memory: RewardClient | None) -> None:
        super().__init__(config, task, policy, memory)
        self._kept = list[tuple[Rollout, Tensor]]()

    def lessons(self, sampled: Rollout, rewards: Rewards, advantages: Tensor) -> tuple[Rollout, Tensor] | None:
        """As many groups with spread as a step has groups; None while they are fewer."""
        size, wanted = self.config.group_size, self.config.prompts_per_step
        for number, share in enumerate(shares_of_right(rewards, size)):
            if 0 < share < 1:
                group = slice(number * size, (number + 1) * size)
                self._kept.append((part(sampled, group), advantages[group]))
        if len(self._kept) < wanted:
            return None
        groups, parts = zip(*self._kept[:wanted], strict=True)
        self._kept.clear()
        return together(groups), torch.cat(parts)


class Greso(Shuffled):
    """Questions whose last visits were all right, or all wrong, are skipped with a probability.

    GRESO (Zheng et al. 2025, arXiv 2506.02177) with the defaults of its code, and without its dynamic sampling: a step
    learns from what it sampled.
    """

    def __init__(self, config: Config, task: Task, policy: Policy, memory: RewardClient | None) -> None:
        super().__init__(config, task, policy, memory)
        self._place = 0
        self._visits = dict[str, list[float]]()
        self._p = dict.fromkeys(TARGETS, FIRST_P)

    def questions(self, step: int) -> list[Question]:
        """The next questions of the endless order that are not skipped."""
        dice = random.Random(f"greso {self.config.seed} {step}")
        chosen = list[Question]()
        while len(chosen) < self.config.prompts_per_step:
            question = self.question(self._place)
            self._place += 1
            if dice.random() < keep_probability(self._visits.get(question.text, ()), self._p):
                chosen.append(question)
        return chosen

    def lessons(self, sampled: Rollout, rewards: Rewards, advantages: Tensor) -> tuple[Rollout, Tensor] | None:
        """All of them; the visits are noted, and from the second epoch on the probabilities are adapted."""
        shares = shares_of_right(rewards, self.config.group_size)
        for question, share in zip(sampled.questions[:: self.config.group_size], shares, strict=True):
            self._visits.setdefault(question.text, []).append(share)
        if self._place > len(self.task.train):
            self._p = adapted(self._p, shares)
        return super().lessons(sampled, rewards, advantages)


class GresoWithDynamicSampling(DynamicSampling, Greso):
    """Both, as GRESO was published."""

    def lessons(self, sampled: Rollout, rewards: Rewards, advantages: Tensor) -> tuple[Rollout, Tensor] | None:
        """The visits are noted, then groups with spread are collected."""
        Greso.lessons(self, sampled, rewards, advantages)
        return DynamicSampling.lessons(self, sampled, rewards, advantages)


class Oracle(Planned):
    """Every 20 steps the policy itself answers every question 8 times, uncounted; a new plan starts from these counts.

    What is planned in between is also told the training's own outcomes, as in `Planned`.
    """

    def __init__(self, config: Config, task: Task, policy: Policy, memory: RewardClient | None) -> None:
        super().__init__(config, task, policy, memory)
        assert memory is not None
        self._client, self._step = memory, 0

    def questions(self, step: int) -> list[Question]:
        """The questions of the plan, after a look where one is due."""
        self._step = step
        if step % EVERY == 0:
            self._look(step)
        return super().questions(step)

    def lessons(self, sampled: Rollout, rewards: Rewards, advantages: Tensor) -> tuple[Rollout, Tensor] | None:
        """All of them; the oracle's own run gets the outcomes, too."""
        prompts = [question.text for question in sampled.questions]
        self._client.reward(prompts, sampled.texts, rewards.outcome, run_id=self.run, step=self._step)
        return super().lessons(sampled, rewards, advantages)

    def _look(self, step: int) -> None:
        """Begin a run that knows how often the policy answers each question right now."""
        config = self.config
        sampled = rollout(self.policy, self.distinct, SAMPLES, config.max_completion, config.temperature)
        pairs = zip(sampled.texts, sampled.questions, strict=True)
        right = torch.tensor([self.task.right(text, question.answer) for text, question in pairs])
        self.run = f"oracle-{step}"
        self._client.create_run(self.run, memory_config(config, self.task))
        self.set_pool(self._client)
        texts = [question.text for question in self.distinct]
        counts = right.view(-1, SAMPLES).sum(1).tolist()
        self._client.add_prior(self.run, counts, [SAMPLES] * len(texts), prompts=texts)


def shares_of_right(rewards: Rewards, group_size: int) -> list[float]:
    """Share of right completions in each group."""
    shares: list[float] = rewards.outcome.view(-1, group_size).mean(1).tolist()
    return shares


def keep_probability(visits: Sequence[float], p: dict[str, float]) -> float:
    """GRESO: the probability that a question is asked again, max(p^z, 0.01); 1 unless its last group had no spread.

    Args:
        visits: share of right completions in each of its groups, the newest last.
        p: of `solved` questions, whose last z groups were all right, and of `impossible` ones, all wrong.
    """
    if not visits or visits[-1] not in (0, 1):
        return 1.0
    alike = next((number for number, share in enumerate(reversed(visits)) if share != visits[-1]), len(visits))
    return max(p["solved" if visits[-1] == 1 else "impossible"] ** alike, LEAST_KEPT)


def adapted(p: dict[str, float], shares: Sequence[float]) -> dict[str, float]:
    """GRESO: each p after a step, 0.01 lower where too many of the step's groups were without spread, else higher.

    Args:
        shares: share of right completions in each of the step's groups.
    """
    found = {"solved": shares.count(1) / len(shares), "impossible": shares.count(0) / len(shares)}
    changes = {name: -CHANGE if found[name] >= TARGETS[name] else CHANGE for name in p}
    return {name: min(max(p[name] + changes[name], LEAST_P), MOST_P) for name in p}


def part(sampled: Rollout, of: slice) -> Rollout:
    """Some of the completions."""
    return Rollout(*(getattr(sampled, one.name)[of] for one in fields(Rollout)))


def together(parts: Sequence[Rollout]) -> Rollout:
    """All completions of several rollouts."""
    columns = [[value for one in parts for value in getattr(one, field.name)] for field in fields(Rollout)]
    return Rollout(*columns)
