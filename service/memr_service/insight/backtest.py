"""A backtest: how well pass rates foresaw a run's groups, each from what was known before it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from memr_client.schemas import Backtest, CalibrationBin, Foreseen, RunConfig

from memr_service.engine.readers import Readers
from memr_service.insight.auc import auc_by_group
from memr_service.insight.journal_reader import JournalReader
from memr_service.planning.beta import fit, no_spread
from memr_service.state.pass_rates import PassRates
from memr_service.state.record import Batch, Record

LIMITS = (0.5, 0.75, 0.9)
"""Probabilities of no spread at which groups would have been left out."""
BINS = 10


@dataclass
class _Visit:
    """A group that may still grow: what was foreseen of it, and what came."""

    step: int | None
    a: float
    b: float
    known: bool
    base: float
    right: int = 0
    wrong: int = 0


@dataclass
class GroupsSeen:
    """The groups of a journal with what was foreseen of each. Records are added in order."""

    config: RunConfig
    _rates: PassRates = field(init=False)
    _open: dict[bytes, _Visit] = field(default_factory=dict)
    _done: list[_Visit] = field(default_factory=list)
    _right: int = 0
    _all: int = 0

    def __post_init__(self) -> None:
        self._rates = PassRates(self.config.success_threshold, self.config.group_size)

    def add(self, record: Record) -> None:
        """Foresee the record's groups, then count them."""
        batch = record.scored
        if len(batch):
            self._foresee(batch)
        self._rates.follow(batch, record.position)

    def _foresee(self, batch: Batch) -> None:
        """Keep what is foreseen of each group that begins here, and add the completions to their groups."""
        unseen = fit(self._rates.used["right"], self._rates.used["wrong"])
        right = (batch.outcomes > self.config.success_threshold).tolist()
        base = self._right / self._all if self._all else 0.5
        begun: set[bytes] = set()
        counted = range(len(batch)) if batch.counted is None else batch.counted.tolist()
        for item in counted:
            key, good = batch.keys[item], right[item]
            visit = self._open.get(key)
            if visit is None or (key not in begun and self._is_over(visit, batch.step)):
                if visit is not None:
                    self._done.append(visit)
                row = self._rates.row(key)
                a, b = (0.0, 0.0) if row is None else self._rates.table[["right", "wrong"]][row].tolist()
                visit = self._open[key] = _Visit(batch.step, unseen[0] + a, unseen[1] + b, a + b > 0, base)
            begun.add(key)
            visit.right += good
            visit.wrong += not good
        self._right += sum(right[item] for item in counted)
        self._all += len(counted)

    def _is_over(self, visit: _Visit, step: int | None) -> bool:
        if step is not None or visit.step is not None:
            return step != visit.step
        size = self.config.group_size
        return size is None or visit.right + visit.wrong >= size

    def result(self, run_id: str) -> Backtest:
        """The figures over all groups so far."""
        groups = [one for one in (*self._done, *self._open.values()) if one.right + one.wrong > 1]
        known = [one for one in groups if one.known]
        right, wrong = (np.array([getattr(one, name) for one in known], np.int64) for name in ("right", "wrong"))
        a, b = (np.array([getattr(one, name) for one in known]) for name in ("a", "b"))
        equal = (right == 0) | (wrong == 0)
        foreseen = np.zeros(len(known))
        for size in np.unique(right + wrong).tolist():
            these = right + wrong == size
            foreseen[these] = no_spread(a[these], b[these], size)
        p = a / (a + b) if len(known) else a
        bins = calibration_bins(1 - foreseen, ~equal)
        return Backtest(
            run_id=run_id,
            groups=len(groups),
            known=len(known),
            equal=int(np.count_nonzero(equal)),
            auc=_auc(p, right, wrong),
            brier=_brier(p, right, wrong),
            brier_base=_brier(np.array([one.base for one in known]), right, wrong),
            calibration_error=calibration_error(bins),
            calibration=bins,
            left_out=[
                Foreseen(
                    limit=limit,
                    equal_left_out=_share(foreseen[equal] >= limit),
                    spread_left_out=_share(foreseen[~equal] >= limit),
                )
                for limit in LIMITS
            ],
        )


async def backtest(reader: JournalReader, run_id: str, readers: Readers) -> Backtest:
    """The backtest of a run over its whole journal.

    Raises:
        UnknownRun.
    """
    facts = await reader.facts()
    seen = GroupsSeen(facts.config)
    async for record in reader.records(facts.base, facts.position):
        await readers.ask(seen.add, record)
    return await readers.ask(seen.result, run_id)


def calibration_bins(foreseen: np.ndarray, spread: np.ndarray) -> list[CalibrationBin]:
    """Groups by what was foreseen of their spread.

    Args:
        foreseen: probability of spread (m,). spread: whether it came (m,) bool.
    """
    places = np.minimum((foreseen * BINS).astype(np.int64), BINS - 1)
    return [
        CalibrationBin(
            low=number / BINS,
            high=(number + 1) / BINS,
            groups=int(np.count_nonzero(places == number)),
            foreseen=_share(foreseen[places == number]),
            seen=_share(spread[places == number]),
        )
        for number in range(BINS)
    ]


def calibration_error(bins: list[CalibrationBin]) -> float | None:
    """Mean distance of what was foreseen and what was seen, weighed by groups; None without groups."""
    groups = sum(one.groups for one in bins)
    off = sum(one.groups * abs((one.foreseen or 0) - (one.seen or 0)) for one in bins)
    return off / groups if groups else None


def _auc(p: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> float | None:
    good = np.repeat(np.tile([True, False], len(p)), np.stack([right, wrong], axis=1).ravel())
    found = auc_by_group(np.repeat(p, right + wrong), good, np.zeros(len(good), np.int64))
    return float(found[0]) if len(found) else None


def _brier(p: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> float | None:
    total = int((right + wrong).sum())
    return float((right * (1 - p) ** 2 + wrong * p**2).sum()) / total if total else None


def _share(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
