"""What completions are paid: for the outcome, the format, the length, and by the memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from memr_client import RewardClient, RunConfig
from torch import Tensor

from examples.grpo.config import Config
from examples.grpo.rollout import Rollout
from examples.grpo.tasks.task import Task


@dataclass(frozen=True)
class Rewards:
    """Of n completions; every tensor is (n) and unweighted but for `memory` and `total`, which are what is paid."""

    outcome: Tensor
    """0 or 1."""
    format: Tensor
    """0 to 2."""
    length: Tensor
    """-1 to 1."""
    memory: Tensor
    """The memory's reward times its weight at this step."""
    components: Mapping[str, Tensor]
    """The memory's parts, scaled by their windows."""
    total: Tensor


def pay(config: Config, task: Task, memory: RewardClient | None, rollout: Rollout, step: int) -> Rewards:
    """The rewards of a step's completions, which the memory remembers."""
    answers = [question.answer for question in rollout.questions]
    pairs = list(zip(rollout.texts, answers, strict=True))
    outcome = torch.tensor([float(task.right(text, answer)) for text, answer in pairs])
    form = torch.tensor([task.format(text) for text in rollout.texts])
    lengths = [len(completion) for completion in rollout.completions]
    length = torch.tensor(
        [cosine_length(n, config.max_completion, right) for n, right in zip(lengths, outcome.tolist(), strict=True)]
    )
    answered = [task.answer(text) for text in rollout.texts]
    remembered, components = _remember(memory, rollout, answered, outcome, step)
    remembered = remembered * config.memory_weight * annealed(config.memory_anneal, step)
    total = (
        config.correctness_weight * outcome
        + config.format_weight * (form * outcome if config.format_gated else form)
        + config.length_weight * length
        + remembered
    )
    return Rewards(outcome, form, length, remembered, components, total)


def cosine_length(length: int, limit: int, right: float) -> float:
    """Cosine length reward (Yeo et al. 2025, arXiv 2502.03373) with open-r1's ends.

    Right: from 1 when short to 0.5 at the limit. Wrong: from -1 when short to -0.5 at the limit.
    """
    short, long = (1.0, 0.5) if right else (-1.0, -0.5)
    return long + 0.5 * (short - long) * (1 + math.cos(math.pi * length / limit))


def annealed(between: tuple[int, int] | None, step: int) -> float:
    """1 until the first of two steps, then down a straight line to 0 at the second."""
    if between is None:
        return 1.0
    start, end = between
    return min(1.0, max(0.0, (end - step) / (end - start)))


@contextmanager
def open_memory(config: Config, task: Task) -> Iterator[RewardClient | None]:
    """A client of the run that is this training's memory; None: it has none.

    The embedded service keeps its memory in the output folder, or without one in this process alone.
    """
    if config.memory is None:
        yield None
        return
    if config.memory_url:
        client = RewardClient(config.memory_url, run=config.memory_run, wait=60)
    else:
        store = f"sqlite:///{config.output / 'memory'}" if config.output else "memory:"
        client = RewardClient.embedded(store, run=config.memory_run)
    with client:
        client.create_run(config=memory_config(config, task))
        yield client


def memory_config(config: Config, task: Task) -> RunConfig:
    """What the run is: the config's `memory`, over what the task and the other fields say."""
    asked = {"preset": config.memory} if isinstance(config.memory, str) else config.memory or {}
    # A resumed training repeats an uninterrupted one to the last bit. On a GPU the policy does not, and this is slow.
    exact = config.encoder != "hashed" and not torch.cuda.is_available()
    standing = {"reasoning_tags": task.reasoning_tags, "encoder": config.encoder, "seed": config.seed}
    return RunConfig(**{**standing, "deterministic": exact, **asked})


def _remember(
    memory: RewardClient | None, rollout: Rollout, answered: list[str], outcome: Tensor, step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    if memory is None:
        return torch.zeros_like(outcome), {}
    prompts = [question.text for question in rollout.questions]
    answer = memory.reward(prompts, rollout.texts, outcome, step=step, answers=answered, truncated=rollout.truncated)
    scaled = {name: torch.tensor(values.scaled) for name, values in answer.components.items()}
    return torch.tensor(answer.rewards), scaled
