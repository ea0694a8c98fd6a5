"""Which of a run's records, on which of its branches, led to a position."""

from __future__ import annotations

from collections.abc import Sequence

from memr_service.store.base import Branch

Span = tuple[int, int, int]
"""(branch, after, upto): the records of a branch with after < position <= upto."""


def lineage(branches: Sequence[Branch], branch: int | None = None, position: int = 2**62) -> list[Span]:
    """The history up to a position of a branch (None: the newest), the oldest branch first."""
    by_number = {one.branch: one for one in branches}
    one = branches[-1] if branch is None else by_number[branch]
    spans = [(one.branch, one.start, position)]
    while one.parent is not None:
        upto, one = min(one.start, position), by_number[one.parent]
        spans.append((one.branch, one.start, upto))
    return spans[::-1]


def clipped(spans: Sequence[Span], after: int, upto: int = 2**62) -> list[Span]:
    """The part of a lineage after position `after` and up to `upto`."""
    cut = [(branch, max(start, after), min(end, upto)) for branch, start, end in spans]
    return [span for span in cut if span[1] < span[2]]


def holds(spans: Sequence[Span], branch: int, position: int) -> bool:
    """Whether a position of a branch is part of a lineage."""
    return any(branch == one and after <= position <= upto for one, after, upto in spans)
