"""The reward of completions: outcome, format, length and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from memr_client import RewardClient, RewardResponse, RunConfig
from torch import Tensor

from examples.grpo.config import Config
from examples.grpo.rollout import Rollout
from examples.grpo.tasks.task import Task

DEFAULT = "attempts"
"""The service's default preset. It pays a little where a group's outcomes are all equal."""

Judge = Callable[[Rollout, int], Sequence[float]]
"""The outcomes of a step's completions."""

UNPAID = {"preset": "memory-r", "components": {"exploit": 0.0}}
"""Of a run that only plans."""


@dataclass(frozen=True)
class Rewards:
    """Rewards of n completions. Every tensor is (n). `memory` and `total` include weights, the others do not."""

    outcome: Tensor
    """0 or 1. Where the memory repairs, the outcome that counts."""
    format: Tensor
    """0 to 2."""
    length: Tensor
    """-1 to 1."""
    memory: Tensor
    """The memory's reward times its weight at this step."""
    components: Mapping[str, Tensor]
    """Component of the memory's reward -> its scaled values."""
    total: Tensor
    """The reward: the weighted sum of all parts."""


def compute_rewards(
    config: Config, task: Task, memory: RewardClient | None, rollout: Rollout, step: int, judge: Judge | None = None
) -> Rewards:
    """Score a step's completions. The memory stores them.

    Args:
        judge: what gives the outcomes. Default: the task, by the questions' answers.
    """
    outcome = torch.tensor([*(judge(rollout, step) if judge else judged(task, rollout))], dtype=torch.float32)
    response = _memory_response(task, memory, rollout, outcome, step)
    if response is not None and response.outcomes_used is not None:
        outcome = torch.tensor(response.outcomes_used)
    form = torch.tensor([task.format(text) for text in rollout.texts])
    lengths = [len(completion) for completion in rollout.completions]
    length = torch.tensor(
        [cosine_length(n, config.max_completion, right) for n, right in zip(lengths, outcome.tolist(), strict=True)]
    )
    weight = config.memory_weight * annealed(config.memory_anneal, step)
    from_memory = torch.zeros_like(outcome) if response is None else torch.tensor(response.rewards) * weight
    scored = {} if response is None else response.components
    components = {name: torch.tensor(values.scaled) for name, values in scored.items()}
    total = (
        config.correctness_weight * outcome
        + config.format_weight * (form * outcome if config.format_gated else form)
        + config.length_weight * length
        + from_memory
    )
    return Rewards(outcome, form, length, from_memory, components, total)


def judged(task: Task, rollout: Rollout) -> list[float]:
    """The outcomes by the questions' answers."""
    pairs = zip(rollout.texts, rollout.questions, strict=True)
    return [float(task.right(text, question.answer)) for text, question in pairs]


def cosine_length(length: int, limit: int, right: float) -> float:
    """Cosine length reward (Yeo et al. 2025, arXiv 2502.03373) with open-r1's end points.

    Right: falls from 1 (short) to 0.5 (at the limit). Wrong: rises from -1 (short) to -0.5 (at the limit).
    """
    short, long = (1.0, 0.5) if right else (-1.0, -0.5)
    return long + 0.5 * (short - long) * (1 + math.cos(math.pi * length / limit))


def annealed(between: tuple[int, int] | None, step: int) -> float:
    """A factor that is 1 up to the first step and falls linearly to 0 at the second."""
    if between is None:
        return 1.0
    start, end = between
    return min(1.0, max(0.0, (end - step) / (end - start)))


@contextmanager
def open_memory(config: Config, task: Task) -> Iterator[RewardClient | None]:
    """A client for the training's memory run; None if the training has neither a memory reward nor a plan."""
    if config.memory is None and not config.plan:
        yield None
        return
    if config.memory_url:
        client = RewardClient(config.memory_url, run=config.memory_run, wait=60)
    else:
        folder = config.memory_store or (config.output and config.output / "memory")
        client = RewardClient.embedded(f"sqlite:///{folder}" if folder else "memory:", run=config.memory_run)
    with client:
        client.create_run(config=memory_config(config, task))
        yield client


def memory_config(config: Config, task: Task) -> RunConfig:
    """The run's config: fields of `config.memory` on top of the task's and the other settings."""
    given = {"preset": config.memory} if isinstance(config.memory, str) else config.memory or {}
    if config.plan:
        # Without a memory reward, outcomes are counted and nothing is paid.
        given = {
            "prior_runs": config.prior_run,
            **(UNPAID if config.memory is None else {}),
            **given,
        }
    # Deterministic, so that a resumed training equals an uninterrupted one bit for bit. Not on a GPU, where it would be
    # slow and the policy is not deterministic anyway.
    deterministic = config.encoder != "hashed" and not torch.cuda.is_available()
    if config.variant == "grpo" and given.get("preset", DEFAULT) == DEFAULT:
        # `grpo` divides by the group's deviation: where outcomes are equal, the memory would be the whole advantage.
        given = {"equal_spread": 0.0, **given}
    defaults = {"reasoning_tags": task.reasoning_tags, "encoder": config.encoder, "seed": config.seed}
    return RunConfig(**{**defaults, "deterministic": deterministic, **given})


def _memory_response(
    task: Task, memory: RewardClient | None, rollout: Rollout, outcome: Tensor, step: int
) -> RewardResponse | None:
    if memory is None:
        return None
    return memory.reward(
        [question.text for question in rollout.questions],
        rollout.texts,
        outcome,
        step=step,
        answers=[task.answer(text) for text in rollout.texts],
        references=[question.answer for question in rollout.questions],
        truncated=rollout.truncated,
    )
