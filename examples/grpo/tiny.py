"""A GPT of 230 thousand weights. It needs no download and runs on one core."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.grpo.policy import Tokens, cut, padded
from examples.grpo.tasks.task import Question

WIDTH, HEADS, LAYERS = 96, 4, 2
PAD, END, UNKNOWN = 0, 1, 2


class Pieces:
    """A tokenizer with given tokens. At each position it takes the longest that fits, or the unknown token."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._texts = ["", "", "?", *pieces]
        self._ids = {piece: number for number, piece in enumerate(self._texts) if number > UNKNOWN}
        longest_first = sorted(pieces, key=len, reverse=True)
        self._piece = re.compile("|".join([*map(re.escape, longest_first), "."]), re.DOTALL)

    def __len__(self) -> int:
        return len(self._texts)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return [self._ids.get(piece, UNKNOWN) for piece in self._piece.findall(text)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without padding and end tokens."""
        return "".join(self._texts[token] for token in tokens)


class Block(nn.Module):
    """A transformer block: attention, then an MLP, each with a normalised input and a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_neurons = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.queries_keys_values = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.mixed = nn.Linear(WIDTH, WIDTH, bias=False)
        self.neurons = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        )

    def forward(self, x: Tensor, cache: Cache | None, visible: Tensor | None) -> Tensor:
        """(B, T, d) to (B, T, d). `visible` (B, 1, T or 1, keys) is the attention mask; None: causal attention."""
        queries, keys, values = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (B, heads, T, d / heads)
            for part in self.queries_keys_values(self.before_attention(x)).chunk(3, dim=-1)
        )
        if cache is not None:
            keys, values = cache.grow(keys, values)
        alone = queries.shape[2] == keys.shape[2]  # otherwise this is one new token, which attends to all
        y = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=visible, is_causal=alone and visible is None
        )
        x = x + self.mixed(y.transpose(1, 2).flatten(-2))
        out: Tensor = x + self.neurons(self.before_neurons(x))
        return out


class Cache:
    """Keys and values of one block, (B, heads, T so far, d / heads)."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def grow(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of new tokens. Returns all of them."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values

    def repeat(self, copies: int) -> None:
        """Repeat each sequence `copies` times."""
        assert self.keys is not None
        assert self.values is not None
        self.keys = self.keys.repeat_interleave(copies, dim=0)
        self.values = self.values.repeat_interleave(copies, dim=0)


class TinyGPT(nn.Module):
    """Tokens (B, T) to logits (B, T, V). The output layer is the transposed embedding."""

    def __init__(self, vocabulary: int, context: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, WIDTH), nn.Embedding(context, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.06 if name.startswith("blocks") else 0.1)

    def forward(self, tokens: Tensor, mask: Tensor, keep: int, caches: Sequence[Cache] | None = None) -> Tensor:
        """Logits of the last `keep` tokens, (B, keep, V).

        `mask` (B, all tokens so far) is False in the padding, which may be before and after a text.
        """
        length = tokens.shape[1]
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -length:]
        x = self.tokens(tokens) + self.positions(positions)
        visible = None if bool(mask[:, 0].all()) else _visible(mask, length)
        for number, block in enumerate(self.blocks):
            x = block(x, caches[number] if caches is not None else None, visible)
        return functional.linear(self.last(x[:, -keep:]), self.tokens.weight)


def _visible(mask: Tensor, length: int) -> Tensor:
    """Attention mask (B, 1, length, all): the last `length` tokens see themselves and earlier tokens, not padding."""
    every = mask.shape[1]
    before = torch.ones(every, every, dtype=torch.bool).tril()[-length:]
    itself = torch.eye(every, dtype=torch.bool)[-length:]  # attention over nothing would be NaN, also for padding
    return (mask[:, None, :] & before | itself)[:, None]


class TinyPolicy:
    """`TinyGPT` with a task's tokens, as a policy."""

    pad = PAD
    device = torch.device("cpu")

    def __init__(self, pieces: Sequence[str], max_prompt: int, max_completion: int) -> None:
        self.tokenizer = Pieces(pieces)
        self.model: nn.Module = TinyGPT(len(self.tokenizer), max_prompt + max_completion)
        self._max_prompt = max_prompt

    def prompt(self, question: Question) -> Tokens:
        """Tokens of the question's text."""
        return self.tokenizer.encode(question.text)[-self._max_prompt :]

    def text(self, completion: Tokens) -> str:
        """The completion's text."""
        return self.tokenizer.decode(completion)

    def completion(self, text: str) -> Tokens:
        """The text's tokens and the end token."""
        return [*self.tokenizer.encode(text), END]

    def finished(self, completion: Tokens) -> bool:
        """Whether the completion ends with the end token."""
        return completion[-1] == END

    @torch.no_grad()
    def sample(self, prompts: Sequence[Tokens], copies: int, limit: int, temperature: float) -> list[Tokens]:
        """Sample token by token. Each prompt is processed once for all its copies."""
        tokens, mask = padded(prompts, PAD, left=True)
        caches = [Cache() for _ in range(LAYERS)]
        logits = self.model(tokens, mask, 1, caches)[:, -1].repeat_interleave(copies, dim=0)
        mask = mask.repeat_interleave(copies, dim=0)
        for cache in caches:
            cache.repeat(copies)
        drawn, ended = list[Tensor](), torch.zeros(len(mask), dtype=torch.bool)
        while True:
            token = draw(logits, temperature).masked_fill(ended, PAD)
            drawn.append(token)
            ended |= token == END
            if len(drawn) == limit or bool(ended.all()):
                return [cut(row, {END}) for row in torch.stack(drawn, dim=1).tolist()]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            logits = self.model(token[:, None], mask, 1, caches)[:, -1]

    def logits(self, model: nn.Module, tokens: Tensor, mask: Tensor, keep: int) -> Tensor:
        """Logits of the last `keep` tokens."""
        logits: Tensor = model(tokens, mask, keep)
        return logits


def draw(logits: Tensor, temperature: float) -> Tensor:
    """Draw one token per sequence (B) from logits (B, V)."""
    if temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1).squeeze(-1)
