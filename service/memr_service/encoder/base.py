"""What an encoder promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from memr_client.errors import EncoderUnusable


@dataclass(frozen=True)
class Encoded:
    """n texts, encoded."""

    vectors: np.ndarray
    """(n, d) float32, rows of unit length."""
    truncated: np.ndarray
    """(n,) bool: whether the text was too long, so that a part of it was not read."""


class Encoder(Protocol):
    """Texts to unit vectors. Called from one thread at a time."""

    name: str
    dimension: int
    device: str
    """`cpu` or `cuda`."""
    max_length: int | None
    """Tokens of a text that it reads; None: all."""
    precision: str
    """What `auto` means: `float32` or `bfloat16`."""

    def encode(self, texts: Sequence[str], precision: str = "float32", long_text: str = "truncate") -> Encoded:
        """Encode n texts, in their order; the same list gives the same bits.

        Args:
            texts: any strings, including empty ones.
            precision: `float32`, or `bfloat16` for the transformer's weights.
            long_text: what is read of a text that is longer than the model takes. `truncate`: the first window.
                `windows`: all windows, of whose vectors the mean is taken. `auto`: the first and the last full window,
                of whose vectors the mean is taken; a text longer than both loses its middle.

        Raises:
            InvalidRequest: this encoder does not offer that precision or treatment of long texts.
        """


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows (n, d) scaled to length one, float32.

    A row of zeros (a text without a token that the model knows) has no direction; it becomes (1, ..., 1) / sqrt(d).

    Raises:
        EncoderUnusable: a row is not finite. If it were stored, it would spoil the memory and the windows permanently.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        count = int(np.count_nonzero(~np.isfinite(norms)))
        raise EncoderUnusable(
            f"The encoder made {count} of {len(norms)} vectors that are not finite.",
            value=count,
            limit=0,
            remedy="Take precision float32 or another encoder; `memr doctor` tests this one.",
        )
    known = norms > 1e-12
    rows: np.ndarray = np.where(known, vectors, 1.0) / np.where(known, norms, vectors.shape[1] ** 0.5)
    return rows.astype(np.float32)
