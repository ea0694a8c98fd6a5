"""What an encoder promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from memr_client.errors import Unavailable


@dataclass(frozen=True)
class Encoded:
    """What n texts were encoded to."""

    vectors: np.ndarray
    """(n, d) float32, rows of unit length."""
    truncated: np.ndarray
    """(n,) bool: a part of the text was not read, because the text is longer than what is read of it."""


class Encoder(Protocol):
    """Texts to unit vectors. Called from one thread at a time."""

    name: str
    dimension: int
    device: str
    """`cpu` or `cuda`."""
    max_length: int | None
    """Tokens it reads of a text; None: all there are."""
    precision: str
    """What `auto` means: `float32` or `bfloat16`."""

    def encode(self, texts: Sequence[str], precision: str = "float32", long_text: str = "truncate") -> Encoded:
        """Encode n texts, in their order; the same list gives the same bits.

        Args:
            texts: any strings, empty ones too.
            precision: `float32`, or `bfloat16` for the transformer's weights.
            long_text: of a text that is longer than the model takes, `truncate` reads the first window; `windows` reads
                it window by window and takes the mean of their vectors, so that nothing is truncated; `auto` takes the
                mean of two full windows, one at either end, and truncates the middle of what is longer than both.

        Raises:
            InvalidRequest: this encoder does not offer that precision or treatment of long texts.
        """


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows (n, d) scaled to length one, float32.

    A row of zeros (a text without a token that the model knows) has no direction; it gets (1, ..., 1) / sqrt(d).

    Raises:
        Unavailable: a row is not finite; kept, it would spoil a memory and its windows for good.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        count = int(np.count_nonzero(~np.isfinite(norms)))
        raise Unavailable(
            f"the encoder made {count} of {len(norms)} vectors that are not finite",
            value=count,
            limit=0,
            remedy="take precision float32 or another encoder; `memr doctor` tests this one",
        )
    known = norms > 1e-12
    rows: np.ndarray = np.where(known, vectors, 1.0) / np.where(known, norms, vectors.shape[1] ** 0.5)
    return rows.astype(np.float32)
