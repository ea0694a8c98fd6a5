"""A GPT of 230 thousand weights, made in place: nothing is downloaded, one core is enough."""

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
    """A tokenizer whose tokens are given: at each place the longest piece that fits, else the unknown token."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._texts = ["", "", "?", *pieces]
        self._ids = {piece: number for number, piece in enumerate(self._texts) if number > UNKNOWN}
        longest_first = sorted(pieces, key=len, reverse=True)
        self._piece = re.compile("|".join([*map(re.escape, longest_first), "."]), re.DOTALL)

    def __len__(self) -> int:
        return len(self._texts)

    def encode(self, text: str) -> list[int]:
        """Text to tokens."""
        return [self._ids.get(piece, UNKNOWN) for piece in self._piece.findall(text)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Tokens to text; padding and end are nothing."""
        return "".join(self._texts[token] for token in tokens)


class Block(nn.Module):
    """Attention, then a layer of neurons, each on a normalised input and added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_neurons = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.queries_keys_values = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.mixed = nn.Linear(WIDTH, WIDTH, bias=False)
        self.neurons = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        )

    def forward(self, x: Tensor, cache: Cache | None, visible: Tensor | None) -> Tensor:
        """(B, T, d) to (B, T, d); `visible` (B, 1, T or 1, keys) says who sees whom, None: each what came before."""
        queries, keys, values = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (B, heads, T, d / heads)
            for part in self.queries_keys_values(self.before_attention(x)).chunk(3, dim=-1)
        )
        if cache is not None:
            keys, values = cache.grow(keys, values)
        alone = queries.shape[2] == keys.shape[2]  # otherwise this is one new token, which sees all
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
        """Append those of new tokens; all there are."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values

    def repeat(self, copies: int) -> None:
        """Each sequence `copies` times, one after the other."""
        assert self.keys is not None
        assert self.values is not None
        self.keys = self.keys.repeat_interleave(copies, dim=0)
        self.values = self.values.repeat_interleave(copies, dim=0)


class TinyGPT(nn.Module):
    """Tokens (B, T) to logits (B, T, V). The head is the embedding."""

    def __init__(self, vocabulary: int, context: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(context, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.06 if name.startswith("blocks") else 0.1)

    def forward(self, tokens: Tensor, mask: Tensor, keep: int, caches: Sequence[Cache] | None = None) -> Tensor:
        """Logits of the last `keep` tokens, (B, keep, V).

        `mask` (B, all tokens so far) is False where there is padding, which may stand before a text and behind it.
        """
        length = tokens.shape[1]
        places = (mask.cumsum(1) - 1).clamp(min=0)[:, -length:]
        x = self.tokens(tokens) + self.places(places)
        visible = None if bool(mask[:, 0].all()) else _visible(mask, length)
        for number, block in enumerate(self.blocks):
            x = block(x, caches[number] if caches is not None else None, visible)
        return functional.linear(self.last(x[:, -keep:]), self.tokens.weight)


def _visible(mask: Tensor, length: int) -> Tensor:
    """(B, 1, length, all): each of the last `length` tokens sees what came before that is no padding, and itself."""
    every = mask.shape[1]
    before = torch.ones(every, every, dtype=torch.bool).tril()[-length:]
    itself = torch.eye(every, dtype=torch.bool)[-length:]  # so that padding, too, has something to see
    return (mask[:, None, :] & before | itself)[:, None]


class TinyPolicy:
    """`TinyGPT` with the pieces of a task."""

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

    @torch.no_grad()
    def sample(self, prompts: Sequence[Tokens], copies: int, limit: int, temperature: float) -> list[Tokens]:
        """Token by token; each prompt is read once for all its copies."""
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
        """As the model gives them."""
        logits: Tensor = model(tokens, mask, keep)
        return logits


def draw(logits: Tensor, temperature: float) -> Tensor:
    """A token each (B), from logits (B, V)."""
    if temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1).squeeze(-1)
