"""`rollout`: samples a step's completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from examples.grpo.policy import Policy, Tokens
from examples.grpo.tasks.task import Question


@dataclass(frozen=True)
class Rollout:
    """n completions, ordered by question. All lists have length n."""

    questions: list[Question]
    prompts: list[Tokens]
    completions: list[Tokens]
    texts: list[str]
    truncated: list[bool]
    """Whether the completion was cut at the limit."""


def rollout(policy: Policy, questions: Sequence[Question], copies: int, limit: int, temperature: float) -> Rollout:
    """Sample `copies` completions of each question, with at most `limit` tokens."""
    prompts = [policy.prompt(question) for question in questions]
    completions = policy.sample(prompts, copies, limit, temperature)
    return Rollout(
        questions=[question for question in questions for _ in range(copies)],
        prompts=[prompt for prompt in prompts for _ in range(copies)],
        completions=completions,
        texts=[policy.text(completion) for completion in completions],
        truncated=[not policy.finished(completion) for completion in completions],
    )
