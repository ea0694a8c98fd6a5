"""memr's encoders compared with sentence-transformers' default: the rows of `benchmarks/encoder.py`."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import encoder
from benchmarks.bench.figures import Figure


def figures() -> Iterator[Figure]:
    """All of these figures."""
    for row in encoder.rows():
        yield Figure(row, row.value, row.value, "")
