"""The policy: a language model that can be asked for completions, and for the probability of given ones.

Shapes: B sequences; P tokens of prompt, padded on the left; C tokens of completion, padded on the right; V vocabulary.
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
    """A model with its tokenizer. `TinyPolicy` and `CausalLM` are the two there are."""

    model: nn.Module
    pad: int
    device: torch.device

    def prompt(self, question: Question) -> Tokens:
        """What the model reads of a question."""

    def text(self, completion: Tokens) -> str:
        """What the model wrote, in words."""

    def finished(self, completion: Tokens) -> bool:
        """Whether a completion came to its end by itself."""

    def sample(self, prompts: Sequence[Tokens], copies: int, limit: int, temperature: float) -> list[Tokens]:
        """`copies` completions of each prompt, one after the other, each up to its end token or cut at `limit`.

        Draws from torch's global random numbers. Temperature 0 takes the most probable token.
        """

    def logits(self, model: nn.Module, tokens: Tensor, mask: Tensor, keep: int) -> Tensor:
        """Logits (B, keep, V) at the last `keep` of the tokens (B, P + C), by `model` or a frozen copy of it.

        `mask` (B, P + C) is False in the padding.
        """


@dataclass(frozen=True)
class Scores:
    """What a model thinks of completions; where the mask is False, the numbers mean nothing."""

    logp: Tensor
    """(B, C) log-probability of each token."""
    entropy: Tensor | None
    """(B, C) entropy of the distribution that each token was drawn from."""
    mask: Tensor
    """(B, C) False in the padding."""


def score(
    policy: Policy,
    model: nn.Module,
    prompts: Sequence[Tokens],
    completions: Sequence[Tokens],
    temperature: float,
    entropy: bool = False,
) -> Scores:
    """What `model` thinks of B completions of B prompts."""
    before, before_mask = padded(prompts, policy.pad, left=True)
    after, after_mask = padded(completions, policy.pad, left=False)
    tokens = torch.cat([before, after], dim=1).to(policy.device)
    mask = torch.cat([before_mask, after_mask], dim=1).to(policy.device)
    keep = after.shape[1] + 1  # the prompt's last token predicts the completion's first
    logp = policy.logits(model, tokens, mask, keep)[:, :-1].float().div(temperature).log_softmax(-1)
    spread = -(logp.exp() * logp).sum(-1) if entropy else None
    return Scores(logp.gather(-1, tokens[:, 1 - keep :, None]).squeeze(-1), spread, mask[:, 1 - keep :])


def padded(texts: Sequence[Tokens], pad: int, left: bool) -> tuple[Tensor, Tensor]:
    """Texts of different lengths as one (B, longest), and a mask that is False in the padding."""
    longest = max(map(len, texts))
    gaps = [longest - len(text) for text in texts]
    tokens = [[pad] * gap + text if left else text + [pad] * gap for text, gap in zip(texts, gaps, strict=True)]
    places, gap = torch.arange(longest).expand(len(texts), longest), torch.tensor(gaps)[:, None]
    return torch.tensor(tokens), places >= gap if left else places < longest - gap


def cut(tokens: Tokens, ends: Collection[int]) -> Tokens:
    """What was written up to the first end token, which belongs to it."""
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[: place + 1]
    return tokens
