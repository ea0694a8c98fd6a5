"""A run's visits to prompts, followed record by record, and how the pass rates moved with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from threading import Lock

import numpy as np
from memr_client.schemas import PassRatesAt, PromptVisit, RunConfig

from memr_service.planning.beta import fit
from memr_service.planning.plan import Foresight, Known, foresee
from memr_service.state.pass_rates import MOST_PROMPTS, PassRates
from memr_service.state.record import Batch, Record

NEWEST = 4096
"""Records that are followed: about a millisecond each when a run is looked at first."""
POINTS = 64
"""The pass rates are noted at least so often over a run, and at most twice as often."""
BINS = 20
USUAL = 8
"""The size of a group as long as there is none."""


@dataclass(frozen=True)
class _Record:
    """The u prompts of one record: identities (u, 16), of the completions that count in pass rates those that are right
    and all (u,), and shares after it (u,)."""

    position: int
    step: int | None
    keys: np.ndarray
    right: np.ndarray
    n: np.ndarray
    p: np.ndarray


class VisitLog:
    """The visits of a run's records after a position. Records are added in order; it may be read in any thread."""

    def __init__(self, config: RunConfig, after: int, upto: int) -> None:
        """`upto`: the run's newest record now, by which the moments are spaced."""
        self.first_position = after + 1
        self.position = after
        """The newest record that was added."""
        self.serials: dict[bytes, int] = {}
        """Identity -> serial number of a completion of the prompt, by which its text is found."""
        self._config = config
        self._rates = PassRates(config.success_threshold, config.group_size)
        self._records: deque[_Record] = deque(maxlen=NEWEST)
        self._points: list[PassRatesAt] = []
        self._every = 1
        while (upto - after) // self._every > 2 * POINTS:
            self._every *= 2
        self._step: int | None = None
        self._lock = Lock()

    def add(self, record: Record) -> None:
        """Follow a record; one that was added before is passed over."""
        with self._lock:
            if record.position <= self.position:
                return
            self.position = record.position
            batch = record.scored
            self._rates.follow(batch, record.position)
            if batch.forget is not None:
                self._forget(batch.forget["keys"])
            if len(batch):
                self._keep(record)
            if len(batch) and record.position % self._every == 0:
                self._points.append(self._now())
                if len(self._points) > 2 * POINTS:
                    self._every *= 2
                    self._points = [one for one in self._points if one.position % self._every == 0]

    def over_steps(self) -> list[PassRatesAt]:
        """The pass rates at about evenly spaced records, and now."""
        with self._lock:
            newest = self._points[-1].position if self._points else 0
            counted = self._records[-1].position if self._records else 0
            return [*self._points, *([self._now()] if counted > newest else [])]

    def positions(self, key: bytes) -> list[int]:
        """The records with completions of a prompt, in order."""
        with self._lock:
            records = [*self._records]
        wanted = np.frombuffer(key, np.uint8)
        return [one.position for one in records if (one.keys == wanted).all(axis=1).any()]

    def visits(self, key: bytes) -> list[PromptVisit]:
        """A prompt's visits in order. Records of one step are one visit; those that are masked are none."""
        with self._lock:
            records = [*self._records]
        wanted = np.frombuffer(key, np.uint8)
        places = [(one, np.flatnonzero((one.keys == wanted).all(axis=1) & (one.n > 0)).tolist()) for one in records]
        found = [(one, place) for one, here in places for place in here]
        return [
            _visit([*same])
            for _, same in groupby(found, key=lambda one: (one[0].step, one[0].step is None and one[0].position))
        ]

    @property
    def group_size(self) -> int:
        """The size of a group that is foreseen."""
        return usual_size(self._config, self._rates.used)

    def _keep(self, record: Record) -> None:
        """Keep the visits of a record that was counted."""
        batch = record.scored
        self._step = batch.step
        for item, key in enumerate(batch.keys):
            self.serials[key] = record.first_serial + item
        while len(self.serials) > MOST_PROMPTS:
            del self.serials[next(iter(self.serials))]
        self._records.append(_visits_of(record.position, batch, self._config.success_threshold, self._rates))

    def _forget(self, keys: np.ndarray) -> None:
        """Drop the visits of prompts (k, 16). Their texts are still found."""
        gone = {key.tobytes() for key in keys}
        for place, one in enumerate(self._records):
            kept = np.array([key.tobytes() not in gone for key in one.keys], bool)
            if not kept.all():
                columns = (column[kept] for column in (one.keys, one.right, one.n, one.p))
                self._records[place] = _Record(one.position, one.step, *columns)

    def _now(self) -> PassRatesAt:
        known = known_of(self._rates.used)
        found = foresee(known, self.group_size, known.next_step)
        retired, solved = int(np.count_nonzero(found.retired)), int(np.count_nonzero(found.solved))
        return PassRatesAt(
            position=self.position,
            step=self._step,
            histogram=histogram(found),
            solved=solved,
            impossible=retired - solved,
            learnable=int(np.count_nonzero(found.seen)) - retired,
        )


def known_of(rows: np.ndarray) -> Known:
    """What rows of pass rates say of their prompts."""
    return Known(
        right=rows["right"],
        wrong=rows["wrong"],
        visits=rows["visits"],
        recent=rows["recent"],
        unseen=fit(rows["right"], rows["wrong"]),
        newest=int(rows["recent"][:, 0].max(initial=-1)),
    )


def usual_size(config: RunConfig, rows: np.ndarray) -> int:
    """The size of a group that is foreseen: the run's `group_size`, or else the usual one of the newest visits."""
    if config.group_size is not None:
        return config.group_size
    sizes = rows["size"][rows["size"] > 1]
    return int(np.median(sizes)) if len(sizes) else USUAL


def histogram(found: Foresight) -> list[int]:
    """How many seen prompts have their expected pass rate in each of BINS equal intervals."""
    p = (found.a / (found.a + found.b))[found.seen]
    places = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    return [int(count) for count in np.bincount(places, minlength=BINS)]


def _visits_of(position: int, batch: Batch, threshold: float, rates: PassRates) -> _Record:
    numbers: dict[bytes, int] = {}
    of = np.array([numbers.setdefault(key, len(numbers)) for key in batch.keys])
    counted = np.arange(len(batch)) if batch.counted is None else batch.counted
    right, of = batch.outcomes[counted] > threshold, of[counted]
    return _Record(
        position=position,
        step=batch.step,
        keys=np.frombuffer(b"".join(numbers), np.uint8).reshape(len(numbers), -1),
        right=np.bincount(of, right, minlength=len(numbers)).astype(np.int64),
        n=np.bincount(of, minlength=len(numbers)),
        p=rates.shares([*numbers]),
    )


def _visit(parts: Sequence[tuple[_Record, int]]) -> PromptVisit:
    last, place = parts[-1]
    return PromptVisit(
        position=last.position,
        step=last.step,
        right=sum(int(one.right[number]) for one, number in parts),
        n=sum(int(one.n[number]) for one, number in parts),
        p=float(last.p[place]),
    )
