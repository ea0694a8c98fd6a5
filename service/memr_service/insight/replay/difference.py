"""The first value of a record that its replay does not reproduce bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from memr_client.schemas import Difference

from memr_service.insight.replay.replay import Replayed
from memr_service.state.record import Effects


def first_difference(replayed: Replayed) -> Difference | None:
    """The first field and item of a record that its replay does not reproduce; None if all values are equal.

    Equal effects of equal inputs make an equal chain. None for every record means that the whole chain is reproduced.
    """
    recorded, again = _fields(replayed.record.effects), _fields(replayed.effects)
    for (field, one), (_, other) in zip(recorded, again, strict=True):
        if not _same(one, other):
            item = _first_item(one, other)
            at = replayed.record.position
            return Difference(
                position=at, item=item, field=field, recorded=_shown(one, item), replayed=_shown(other, item)
            )
    return None


def _fields(effects: Effects) -> Iterator[tuple[str, Any]]:
    """The parts of an effect by name, each after those it follows from."""
    for name in sorted(effects.raw):
        yield f"{name}.raw", effects.raw[name]
    yield "rejected", effects.rejected
    for name in sorted(effects.scaled):
        yield f"{name}.scaled", effects.scaled[name]
    yield "rewards", effects.rewards
    done = {"raw", "scaled", "rejected", "rewards"}
    for name, value in vars(effects).items():
        if name not in done:
            yield name, value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if hasattr(one, "__dict__") and type(one) is type(other):
        return _same(vars(one), vars(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _first_item(one: Any, other: Any) -> int | None:
    """The first item at which two columns of equal length differ; None if their lengths differ."""
    if isinstance(one, dict | np.generic) or not hasattr(one, "__len__") or not hasattr(other, "__len__"):
        return None
    items = (item for item, pair in enumerate(zip(one, other, strict=False)) if not _same(*map(np.asarray, pair)))
    return next(items, None) if len(one) == len(other) else None


def _shown(value: Any, item: int | None) -> Any:
    """A value, of one item if it is a column, as JSON; NaN becomes null."""
    if item is not None:
        value = value[item]
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float) and np.isnan(value):
        return None
    return value if isinstance(value, int | float | str | list | dict | None) else str(value)
