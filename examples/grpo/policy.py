"""The policy: a language model that samples completions and computes the probabilities of given ones.

Shapes: B sequences; P prompt tokens, padded on the left; C completion tokens, padded on the right; V tokens in the
vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from examples.grpo.tasks.task import Question

Tokens = list[int]


class Policy(Protocol):
    """A model with its tokenizer: `TinyPolicy` or `CausalLM`."""

    model: nn.Module
    pad: int
    device: torch.device

    def prompt(self, question: Question) -> Tokens:
        """The prompt's tokens."""

    def text(self, completion: Tokens) -> str:
        """The completion's text."""

    def completion(self, text: str) -> Tokens:
        """The tokens of a completion with this text, and an end token."""

    def finished(self, completion: Tokens) -> bool:
        """Whether a completion ends with an end token."""

    def sample(self, prompts: Sequence[Tokens], copies: int, limit: int, temperature: float) -> list[Tokens]:
        """`copies` completions of each prompt, ordered by prompt, up to an end token or `limit` tokens.

        Uses torch's global random generator. Temperature 0 takes the most probable token.
        """

    def logits(self, model: nn.Module, tokens: Tensor, mask: Tensor, keep: int) -> Tensor:
        """Logits (B, keep, V) of the last `keep` tokens.

        Args:
            model: the policy's model or a frozen copy of it.
            tokens: (B, P + C).
            mask: (B, P + C), False in the padding.
            keep: number of tokens from the end.
        """


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of completions. Values in the padding have no meaning."""

    logp: Tensor
    """(B, C) log-probability of each token."""
    entropy: Tensor | None
    """(B, C) entropy of the distribution of each token."""
    mask: Tensor
    """(B, C), False in the padding."""


def score(
    policy: Policy,
    model: nn.Module,
    prompts: Sequence[Tokens],
    completions: Sequence[Tokens],
    temperature: float,
    entropy: bool = False,
) -> Scores:
    """Log-probabilities of B completions, each after its prompt, under `model`."""
    before, before_mask = padded(prompts, policy.pad, left=True)
    after, after_mask = padded(completions, policy.pad, left=False)
    tokens = torch.cat([before, after], dim=1).to(policy.device)
    mask = torch.cat([before_mask, after_mask], dim=1).to(policy.device)
    keep = after.shape[1] + 1  # the prompt's last token predicts the completion's first
    logp = policy.logits(model, tokens, mask, keep)[:, :-1].float().div(temperature).log_softmax(-1)
    spread = -(logp.exp() * logp).sum(-1) if entropy else None
    return Scores(logp.gather(-1, tokens[:, 1 - keep :, None]).squeeze(-1), spread, mask[:, 1 - keep :])


def padded(texts: Sequence[Tokens], pad: int, left: bool) -> tuple[Tensor, Tensor]:
    """Token lists as one tensor (B, longest), and a mask that is False in the padding."""
    longest = max(map(len, texts))
    gaps = [longest - len(text) for text in texts]
    tokens = [[pad] * gap + text if left else text + [pad] * gap for text, gap in zip(texts, gaps, strict=True)]
    positions, gap = torch.arange(longest).expand(len(texts), longest), torch.tensor(gaps)[:, None]
    return torch.tensor(tokens), positions >= gap if left else positions < longest - gap


def cut(tokens: Tokens, ends: Collection[int]) -> Tokens:
    """The tokens up to and including the first end token."""
    for position, token in enumerate(tokens):
        if token in ends:
            return tokens[: position + 1]
    return tokens
