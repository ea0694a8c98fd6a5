"""Text to vectors by hashing character n-grams: no model, no torch, the same on every machine.

    c(t)[b] = sum of sign(g) over the 2-, 3- and 4-grams g of t that have bucket b     t: lower-cased, between two marks
    v(t)    = (c(t) + bias) / ||c(t) + bias||_2

Texts with similar spelling are near each other. It is the encoder of tests and demos, and a baseline for models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from memr_service.encoder.base import Encoded

DIMENSION = 384
SIZES = (2, 3, 4)
"""Lengths of the n-grams in characters, each one more than the one before."""
SCHEME = "memr hashed 1: signed character 2-, 3-, 4-grams, lower case, marked, 384 buckets"
"""Says what is computed. A change of the values must change this text, and with it the encoder's fingerprint."""

_START, _END = "\x02", "\x03"
_CHUNK_CHARS, _CHUNK_TEXTS = 1 << 18, 512
_SHARED = SIZES[-1] - 1
"""Characters that two pieces of a long text share, so that every n-gram is within one of them."""
_BIAS = 0.5


class HashedEncoder:
    """Hashed n-grams as an encoder. Vectors are exact and texts are read whole, whatever arguments `encode` gets."""

    name = "hashed"
    dimension = DIMENSION
    device = "cpu"
    max_length: int | None = None
    precision = "float32"

    def encode(self, texts: Sequence[str], precision: str = "float32", long_text: str = "truncate") -> Encoded:
        """Encode n texts to (n, 384)."""
        return Encoded(hashed_vectors(texts), np.zeros(len(texts), bool))


def hashed_vectors(texts: Sequence[str]) -> np.ndarray:
    """Unit rows (n, 384) float32, bit-equal on every platform; no row is zero, even for the empty text."""
    vectors = np.empty((len(texts), DIMENSION), np.float32)
    for start, chunk in _chunks(texts):
        counts = _signed_counts(chunk) if len(chunk) > 1 else _signed_counts_of(chunk[0])
        # Counts are whole numbers and the bias is not, so no row is zero even if the n-grams cancel out.
        counts[:, 0] += _BIAS
        # Sums of squares of quarters are exact in float64, so they do not depend on the order of summation.
        vectors[start : start + len(chunk)] = counts / np.sqrt(np.square(counts).sum(axis=1, keepdims=True))
    return vectors


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Marked texts in chunks of bounded size, each with the position of its first text."""
    start, chars, chunk = 0, 0, list[str]()
    for text in texts:
        chunk.append(f"{_START}{text.lower()}{_END}")
        chars += len(chunk[-1])
        if chars >= _CHUNK_CHARS or len(chunk) == _CHUNK_TEXTS:
            yield start, chunk
            start, chars, chunk = start + len(chunk), 0, []
    if chunk:
        yield start, chunk


def _signed_counts_of(marked: str) -> np.ndarray:
    """Signed n-gram counts of one text, (1, 384) float64, a piece at a time: an n-gram takes 80 bytes meanwhile."""
    counts = _signed_counts([marked[: _CHUNK_CHARS + _SHARED]])
    for start in range(_CHUNK_CHARS, len(marked) - _SHARED, _CHUNK_CHARS):
        counts += _signed_counts([marked[start : start + _CHUNK_CHARS + _SHARED]])
        counts -= _signed_counts([marked[start : start + _SHARED]])  # they are in both
    return counts


def _signed_counts(marked: list[str]) -> np.ndarray:
    """Signed n-gram counts of each text, (n, 384) float64."""
    codes = np.frombuffer("".join(marked).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    row = np.repeat(np.arange(len(marked)), [len(text) for text in marked])
    counts = np.zeros(len(marked) * DIMENSION)
    key = codes
    for size in SIZES:
        key = key[:-1] * np.uint64(0x100000001B3) + codes[size - 1 :]
        inside = row[: len(key)] == row[size - 1 :]
        mixed = _mix(key[inside] + np.uint64(size << 56))
        sign = 1.0 - 2.0 * (mixed & np.uint64(1)).astype(np.float64)
        bucket = (mixed >> np.uint64(32)) * np.uint64(DIMENSION) >> np.uint64(32)
        cell = row[: len(key)][inside] * DIMENSION + bucket.astype(np.int64)
        counts += np.bincount(cell, sign, len(counts))
    return counts.reshape(len(marked), DIMENSION)


def _mix(keys: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: spreads (m,) uint64 keys over all 64 bits."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = keys ^ (keys >> np.uint64(31))
    return mixed
