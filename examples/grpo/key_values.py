"""`KeyValues`: what the layers of a decoder keep of the tokens so far, and attention over it.

Shapes: L layers; Q prompts of at most P tokens, with up to G sequences each; B sequences that are still being written;
C tokens of a completion for which there is room; K key heads, each read by R query heads; D numbers in a head.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ROOM = 32
"""Tokens by which the room for completions grows."""


class KeyValues:
    """Keys and values of prompts, stored once for all sequences after them, and of completions, in place.

    Args:
        prompts: (L, 2, Q, K, P, D), keys and values.
        hidden: (Q, P), True in the padding.
        copies: sequences after each prompt.
    """

    def __init__(self, prompts: Tensor, hidden: Tensor, copies: int) -> None:
        layers, both, questions, heads, _, size = prompts.shape
        self._prompts, self._hidden = prompts, hidden[:, None, None, :]
        self._written = prompts.new_zeros(layers, both, questions * copies, heads, ROOM, size)
        self.length = 0
        """Tokens of each completion so far."""
        self._sit(torch.arange(questions).repeat_interleave(copies))

    def keep(self, rows: Tensor) -> None:
        """Keep only these sequences, by their numbers (B)."""
        self._written = self._written[:, :, rows]
        self._sit(self.prompt_of[rows])

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attention of one new token of each sequence over its prompt, its completion, and itself.

        Args:
            queries: (B, K, R, D), divided by the square root of D.
            keys, values: (B, K, D), which are stored.

        Returns:
            (B, K, R, D).
        """
        now, (count, heads, each, size) = self.length + 1, queries.shape
        if now > self._written.shape[-2]:
            self._written = functional.pad(self._written, (0, 0, 0, ROOM))
        self._written[layer, 0, :, :, self.length] = keys
        self._written[layer, 1, :, :, self.length] = values
        own_keys, own_values = self._written[layer].flatten(1, 2)  # (B K, C, D), whole, because a part would be copied
        prompt_keys, prompt_values = self._prompts[layer]

        seated = self._seated(queries)  # (Q, K, G R, D)
        to_prompt = (seated @ prompt_keys.mT).masked_fill(self._hidden, -torch.inf)
        to_own = torch.unflatten(torch.bmm(own_keys, queries.flatten(0, 1).mT).mT, 0, (count, heads))  # (B, K, R, C)
        to_all = torch.cat([self._stood(to_prompt, each), to_own[..., :now]], dim=-1)
        weights = to_all.softmax(-1, dtype=torch.float32).to(queries.dtype)
        before, own = weights[..., :-now], weights[..., -now:]
        own = functional.pad(own, (0, own_values.shape[1] - now))
        read = self._stood(self._seated(before) @ prompt_values, each)
        return read + torch.bmm(own.flatten(0, 1), own_values).view(count, heads, each, size)

    def _sit(self, prompt_of: Tensor) -> None:
        """Seat the sequences at their prompts. Those of one prompt may be fewer than of another; seats are left over.

        Args:
            prompt_of: (B) ascending number of each sequence's prompt.
        """
        self.prompt_of = prompt_of
        counts = prompt_of.bincount(minlength=self._prompts.shape[2])
        place = torch.arange(len(prompt_of)) - (counts.cumsum(0) - counts)[prompt_of]
        self._seats = torch.zeros(len(counts), int(counts.max()), dtype=torch.long)
        self._seats[prompt_of, place] = torch.arange(len(prompt_of))
        self._seat_of = prompt_of * self._seats.shape[1] + place

    def _seated(self, rows: Tensor) -> Tensor:
        """(B, K, R, X) by prompt, (Q, K, G R, X)."""
        return rows[self._seats].transpose(1, 2).flatten(2, 3)

    def _stood(self, seated: Tensor, each: int) -> Tensor:
        """(Q, K, G R, X) by sequence, (B, K, R, X)."""
        return torch.unflatten(seated, 2, (-1, each)).transpose(1, 2).flatten(0, 1)[self._seat_of]
