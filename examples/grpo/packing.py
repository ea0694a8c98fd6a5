"""`pack`: completions of one prompt in one sequence after it, so that a training step reads the prompt only once.

Shapes: Q prompts with G completions each; P and C tokens of the longest prompt and completion.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor


class Packed(NamedTuple):
    """What a model gets. A completion sees its prompt and itself, and has the positions that follow the prompt's."""

    tokens: Tensor
    """(Q, P + G C)."""
    visible: Tensor
    """(Q, 1, P + G C, P + G C)."""
    positions: Tensor
    """(Q, P + G C)."""
    copies: int
    """G."""
    length: int
    """C."""

    @property
    def keep(self) -> int:
        """Tokens from the end whose logits are needed: the prompt's last and all completions."""
        return self.copies * self.length + 1

    def unpack(self, logits: Tensor) -> Tensor:
        """Logits (Q, G C + 1, V) as those of single sequences, (Q G, C + 1, V)."""
        first = logits[:, :1].repeat_interleave(self.copies, dim=0)
        return torch.cat([first, torch.unflatten(logits[:, 1:], 1, (self.copies, self.length)).flatten(0, 1)], dim=1)


def pack(tokens: Tensor, mask: Tensor, length: int) -> Packed | None:
    """Pack sequences whose prompts are equal.

    Args:
        tokens, mask: (Q G, P + C), prompts padded on the left, completions on the right, where the mask is False.
        length: C.

    Returns:
        None if prompts differ, or follow each other in groups of different sizes.
    """
    before = tokens[:, :-length]
    changes = [0, *((before[1:] != before[:-1]).any(1).nonzero().squeeze(1) + 1).tolist(), len(tokens)]
    sizes = {end - start for start, end in pairwise(changes)}
    copies = sizes.pop()
    if sizes or copies == 1:
        return None
    prompts, prompt_mask = before[::copies], mask[::copies, :-length]
    questions, own = len(prompts), mask[:, -length:].reshape(-1, copies * length)
    whole = torch.cat([prompts, tokens[:, -length:].reshape(questions, -1)], dim=1)
    shown = torch.cat([prompt_mask, own], dim=1)
    # Completion 1, 2, ... of each token; 0 in the prompt, which all see.
    of = torch.arange(1, copies + 1).repeat_interleave(length)
    of = torch.cat([of.new_zeros(prompts.shape[1]), of]).to(tokens.device)
    size = len(of)
    causal = torch.ones(size, size, dtype=torch.bool, device=tokens.device).tril()
    related = (of[None, :] == 0) | (of[None, :] == of[:, None])
    itself = torch.eye(size, dtype=torch.bool, device=tokens.device)  # attention over nothing would be NaN
    visible = (shown[:, None, :] & causal & related | itself)[:, None]
    at = (prompt_mask.long().cumsum(1) - 1).clamp(min=0)
    after = torch.arange(1, length + 1, device=tokens.device).repeat(copies)
    return Packed(whole, visible, torch.cat([at, at[:, -1:] + after], dim=1), copies, length)
