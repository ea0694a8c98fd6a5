"""The policy: a language model that can be asked for completions and for the probability of given ones.

Shapes: B sequences; P tokens of prompt, padded on the left; C tokens of completion, padded on the right; V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from examples.grpo.tasks.task import Question
from examples.grpo.tiny import END, PAD, Cache, Pieces, TinyGPT

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

    def sample(self, prompts: Sequence[Tokens], copies: int, limit: int, temperature: float) -> list[Tokens]:
        """`copies` completions of each prompt, one after the other, each with the end token unless cut at `limit`.

        Draws from torch's global random numbers. Temperature 0 takes the most probable token.
        """

    def finished(self, completion: Tokens) -> bool:
        """Whether a completion came to its end by itself."""

    def logits(self, model: nn.Module, tokens: Tensor, mask: Tensor, keep: int) -> Tensor:
        """Logits (B, keep, V) of the last `keep` tokens (B, P + C), by `model`, which may be a frozen copy."""


@dataclass(frozen=True)
class Scores:
    """What a model thinks of completions; where the mask is False, the numbers mean nothing."""

    logp: Tensor
    """(B, C) log-probability of each token."""
    entropy: Tensor | None
    """(B, C) entropy of the distribution each token was drawn from."""
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
    keep = after.shape[1] + 1  # the last token of the prompt predicts the first of the completion
    logp = policy.logits(model, tokens, mask, keep)[:, :-1].float().div(temperature).log_softmax(-1)
    spread = -(logp.exp() * logp).sum(-1) if entropy else None
    return Scores(logp.gather(-1, tokens[:, 1 - keep :, None]).squeeze(-1), spread, mask[:, 1 - keep :])


def padded(texts: Sequence[Tokens], pad: int, left: bool) -> tuple[Tensor, Tensor]:
    """Texts of different lengths as one (B, longest), and a mask that is False in the padding."""
    longest = max(map(len, texts))
    gaps = [longest - len(text) for text in texts]
    tokens = [[pad] * (gap * left) + text + [pad] * (gap * (not left)) for text, gap in zip(texts, gaps, strict=True)]
    places = torch.arange(longest).expand(len(texts), longest)
    wide = torch.tensor(gaps)[:, None]
    return torch.tensor(tokens), places >= wide if left else places < longest - wide


class TinyPolicy:
    """`TinyGPT` with the tokens of a task; one core is faster for it than two."""

    pad = PAD
    device = torch.device("cpu")

    def __init__(self, pieces: Sequence[str], max_prompt: int, max_completion: int) -> None:
        self.tokenizer = Pieces(pieces)
        self.model: nn.Module = TinyGPT(len(self.tokenizer), max_prompt + max_completion)
        self._max_prompt = max_prompt

    def prompt(self, question: Question) -> Tokens:
        """The question's own words."""
        return self.tokenizer.encode(question.text)[-self._max_prompt :]

    def text(self, completion: Tokens) -> str:
        """The pieces, one after the other."""
        return self.tokenizer.decode(completion)

    def finished(self, completion: Tokens) -> bool:
        """Whether it ends with the end token."""
        return completion[-1] == END

    def logits(self, model: nn.Module, tokens: Tensor, mask: Tensor, keep: int) -> Tensor:
        """As the model gives them."""
        logits: Tensor = model(tokens, mask, keep)
        return logits

    @torch.no_grad()
    def sample(self, prompts: Sequence[Tokens], copies: int, limit: int, temperature: float) -> list[Tokens]:
        """Token by token; each prompt is read once for all its copies."""
        tokens, mask = padded(prompts, PAD, left=True)
        caches = [Cache(), Cache()]
        logits = self.model(tokens, mask, 1, caches)[:, -1].repeat_interleave(copies, dim=0)
        for cache in caches:
            cache.repeat(copies)
        mask = mask.repeat_interleave(copies, dim=0)
        drawn, ended = list[Tensor](), torch.zeros(len(mask), dtype=torch.bool)
        while True:
            token = draw(logits, temperature).masked_fill(ended, PAD)
            drawn.append(token)
            ended |= token == END
            if len(drawn) == limit or bool(ended.all()):
                return [cut(row, END) for row in torch.stack(drawn, dim=1).tolist()]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            logits = self.model(token[:, None], mask, 1, caches)[:, -1]


def draw(logits: Tensor, temperature: float) -> Tensor:
    """One token each (B), from logits (B, V)."""
    if temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1).squeeze(-1)


def cut(tokens: Tokens, end: int) -> Tokens:
    """What was written up to the first end token, which belongs to it."""
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens
