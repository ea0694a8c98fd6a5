"""`decode`: samples completions with a `Decoder`, token by token. Sequences that ended leave the batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from examples.grpo.decoder import Decoder
from examples.grpo.policy import Tokens, cut, padded

ENDED = 1 / 8
"""Share of ended sequences from which they are taken out: copying what is left takes as long as a few of them."""
BLOCK = 128
"""Tokens of the vocabulary whose probabilities are added up at once."""


@torch.no_grad()
def decode(
    decoder: Decoder,
    prompts: Sequence[Tokens],
    copies: int,
    limit: int,
    temperature: float,
    ends: Collection[int],
    pad: int,
) -> list[Tokens]:
    """Sample `copies` completions of each prompt, up to an end token or `limit` tokens.

    Every completion has random numbers of its own, one for each token, drawn from torch's global generator.
    """
    tokens, mask = padded(prompts, pad, left=True)
    numbers = torch.rand(len(prompts) * copies, limit)
    logits, so_far = decoder.read(tokens, mask, copies)
    logits = logits.repeat_interleave(copies, dim=0)
    lengths = mask.sum(1).repeat_interleave(copies)
    drawn = torch.full((len(numbers), limit), pad)
    rows, last = torch.arange(len(numbers)), torch.tensor(sorted(ends))
    for place in range(limit):
        drawn[rows, place] = draw(logits, numbers[rows, place], temperature)
        going = ~torch.isin(drawn[rows, place], last)
        if place + 1 == limit or not going.any():
            break
        if going.float().mean() <= 1 - ENDED:
            so_far.keep(going.nonzero().squeeze(1))
            rows = rows[going]
        logits = decoder.step(drawn[rows, place], lengths[rows] + place, so_far)
    return [cut(row, ends) for row in drawn.tolist()]


def draw(logits: Tensor, numbers: Tensor, temperature: float) -> Tensor:
    """Draw one token for each sequence (B) by numbers (B) in [0, 1) from logits (B, V): the first token up to which the
    probabilities add up to more than the number. Temperature 0 takes the most probable token.
    """
    if temperature == 0:
        return logits.argmax(-1)
    p = (logits / temperature if temperature != 1 else logits).softmax(-1, dtype=torch.float32)
    if spare := -p.shape[1] % BLOCK:
        p = functional.pad(p, (0, spare))
    blocks = torch.unflatten(p, 1, (-1, BLOCK))
    up_to = blocks.sum(-1).cumsum(-1)  # (B, blocks)
    wanted = numbers[:, None] * up_to[:, -1:]
    block = torch.searchsorted(up_to, wanted, right=True).clamp(max=up_to.shape[1] - 1)
    each = torch.arange(len(p))
    within = blocks[each, block.squeeze(1)].cumsum(-1)  # (B, BLOCK)
    left = wanted - up_to.gather(1, block) + within[:, -1:]
    place = torch.searchsorted(within, left, right=True).clamp(max=BLOCK - 1)
    return (block * BLOCK + place).squeeze(1).clamp(max=logits.shape[1] - 1)
