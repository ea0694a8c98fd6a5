"""Statistics of a run's steps, from which a trainer's curves are drawn.

The store keeps a few columns of each record, without embeddings. `rows` computes the statistics from them on request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import msgpack
import numpy as np
from memr_client.schemas import ComponentHistory, HistoryRow, Quantiles

from memr_service.memory import CuratedWrites, Writes
from memr_service.rewards.groups import diversity, extremes
from memr_service.state.record import Record

LARGEST = np.finfo(np.float32).max
"""Columns are kept in float32; larger values are kept as this."""
QUANTILES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


@dataclass(frozen=True)
class Columns:
    """A record's n items as columns, and the sizes of the memories after it."""

    branch: int
    position: int
    step: int | None
    at: float
    outcomes: np.ndarray
    group: np.ndarray
    lengths: np.ndarray
    rewards: np.ndarray
    support: dict[str, np.ndarray]
    raw: dict[str, np.ndarray]
    scaled: dict[str, np.ndarray]
    sizes: dict[str, list[int]]
    rejected: dict[str, int]
    merged: dict[str, int] = field(default_factory=dict)
    evicted: dict[str, int] = field(default_factory=dict)
    diversity: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    """Diversity of each group of two or more items."""


@np.errstate(over="ignore")
def columns(record: Record) -> bytes:
    """The columns of a record, as the store keeps them."""
    batch, effects = record.scored, record.effects
    fields = {
        "position": record.position,
        "step": batch.step,
        "at": record.at,
        "sizes": effects.sizes,
        "rejected": dict(Counter(reason for reasons in effects.rejected for reason in reasons)),
        "outcomes": _packed(batch.outcomes),
        "group": _packed(batch.group),
        "lengths": _packed(batch.lengths),
        "rewards": _packed(effects.rewards),
        "support": {side: _packed(counts) for side, counts in effects.support.items()},
        "raw": {name: _packed(values) for name, values in effects.raw.items()},
        "scaled": {name: _packed(values) for name, values in effects.scaled.items()},
        "merged": {
            side: writes.merged
            for side, writes in (("success", effects.success), ("failure", effects.failure))
            if isinstance(writes, CuratedWrites)
        },
        "evicted": {
            f"{side}:{limit}": count
            for side, writes in (("success", effects.success), ("failure", effects.failure))
            for limit, count in _evicted(writes).items()
            if count
        },
        "diversity": _packed(diversity(batch.completions, batch.group)),
    }
    return bytes(msgpack.packb(fields))


def _evicted(writes: Writes) -> dict[str, int]:
    """Limit of the run's config -> how many entries or prompts left a memory because of it."""
    for_room = {
        "max_prompts": int(np.count_nonzero(writes.drops_prompt)),
        "max_completions": int(np.count_nonzero(writes.drops_entry)),
    }
    return for_room | ({"max_age": len(writes.expired)} if isinstance(writes, CuratedWrites) else {})


def _packed(column: np.ndarray) -> bytes:
    packed = column.astype("<f4")
    return bytes((np.clip(packed, -LARGEST, LARGEST) if np.isinf(packed).any() else packed).tobytes())


def unpack(packed: bytes, branch: int) -> Columns:
    """The columns of a record on this branch, from the bytes that `columns` returns."""
    return Columns(branch, **{name: _arrays(value) for name, value in msgpack.unpackb(packed).items()})


def _arrays(value: Any) -> Any:
    if isinstance(value, bytes):
        column = np.frombuffer(value, "<f4")
        # An earlier version wrote larger values as infinite.
        return np.clip(column, -LARGEST, LARGEST) if np.isinf(column).any() else column
    if isinstance(value, dict):
        return {key: _arrays(one) for key, one in value.items()}
    return value


def rows(records: Iterable[Columns], weights: dict[str, float]) -> Iterator[HistoryRow]:
    """One row for each step. Consecutive records of one step share a row; a record without a step has its own.

    Args:
        records: in order.
        weights: component -> its weight in the reward.
    """
    for step in steps(records):
        yield _row(step, weights)


def curve(records: Iterable[Columns], weights: dict[str, float], points: int) -> list[HistoryRow]:
    """At most `points` rows for all records. Each row treats the same number of consecutive steps as one."""
    all_steps = [*steps(records)]
    together = max(1, -(-len(all_steps) // points))
    parts = (all_steps[start : start + together] for start in range(0, len(all_steps), together))
    return [_row([record for step in part for record in step], weights) for part in parts]


def steps(records: Iterable[Columns]) -> Iterator[list[Columns]]:
    """Consecutive records of one step, or one record without a step. Records without items are left out."""
    filled = (one for one in records if len(one.outcomes))
    for _, same in groupby(filled, key=lambda one: (one.step, one.position if one.step is None else None)):
        yield list(same)


def _row(records: list[Columns], weights: dict[str, float]) -> HistoryRow:
    last = records[-1]
    outcomes, lengths, rewards = (
        np.concatenate([getattr(one, column) for one in records]) for column in ("outcomes", "lengths", "rewards")
    )
    raw = {name: np.concatenate([one.raw[name] for one in records]) for name in weights}
    scaled = {name: np.concatenate([one.scaled[name] for one in records]) for name in weights}
    paid = {name: abs(weight * average(scaled[name])) for name, weight in weights.items()}
    lowest, highest = _ends(records)
    return HistoryRow(
        step=last.step,
        branch=last.branch,
        first_position=records[0].position,
        position=last.position,
        at=last.at,
        items=len(outcomes),
        groups=len(lowest),
        outcome_mean=average(outcomes),
        zero_variance_share=float((lowest == highest).mean()),
        reward_mean=average(rewards),
        reward_std=_deviation(rewards),
        length_mean=float(lengths.mean()),
        length=quantiles(lengths),
        rejected=_added(one.rejected for one in records),
        merged=_added(one.merged for one in records),
        evicted=_added(one.evicted for one in records),
        diversity=_mean(np.concatenate([one.diversity for one in records])),
        support={side: float(np.concatenate([one.support[side] for one in records]).mean()) for side in last.support},
        components={name: _component(raw[name], scaled[name], paid[name], sum(paid.values())) for name in weights},
        memory={side: {"prompts": size[0], "completions": size[1]} for side, size in last.sizes.items()},
    )


def _component(raw: np.ndarray, scaled: np.ndarray, paid: float, paid_by_all: float) -> ComponentHistory:
    defined = raw[~np.isnan(raw)]
    return ComponentHistory(
        defined=len(defined),
        raw=quantiles(defined),
        scaled_mean=average(scaled),
        scaled_std=_deviation(scaled),
        share=paid / paid_by_all if paid_by_all else 0.0,
    )


def _ends(records: Sequence[Columns]) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest outcome of each group (g,). All items of a group are in one record."""
    begins = np.cumsum([0, *(int(one.group.max()) + 1 for one in records)])
    number = np.concatenate([one.group.astype(np.int64) + begin for one, begin in zip(records, begins, strict=False)])
    outcomes = np.concatenate([one.outcomes for one in records])
    lowest, highest = extremes(outcomes, number)
    there = lowest <= highest
    return lowest[there], highest[there]


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return {name: count for name, count in total.items() if count}


@np.errstate(over="ignore", invalid="ignore")
def average(values: np.ndarray) -> float:
    """The mean of float32 values; in float64 if their sum overflows."""
    mean = float(values.mean())
    return mean if np.isfinite(mean) else float(values.mean(dtype=np.float64))


@np.errstate(over="ignore", invalid="ignore")
def _deviation(values: np.ndarray) -> float:
    """The standard deviation of float32 values; in float64 if their squares overflow."""
    deviation = float(values.std())
    return deviation if np.isfinite(deviation) else float(values.std(dtype=np.float64))


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def quantiles(values: np.ndarray) -> Quantiles | None:
    """Quantiles of values (n,); None if there are none."""
    if not len(values):
        return None
    position = QUANTILES * (len(values) - 1)  # as np.quantile does, which takes ten times as long
    below = position.astype(np.int64)
    ordered = np.sort(values).astype(np.float64)
    low, high = ordered[below], ordered[np.minimum(below + 1, len(values) - 1)]
    p5, p25, p50, p75, p95 = (low + (position - below) * (high - low)).tolist()
    return Quantiles(p5=p5, p25=p25, p50=p50, p75=p75, p95=p95)
