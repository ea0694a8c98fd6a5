"""The prompts that a run knows or may plan from: filtered, sorted, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from memr_client.errors import InvalidRequest
from memr_client.schemas import KnownPrompt, PromptKind, PromptKinds, RunConfig
from scipy.special import betaincinv

from memr_service.insight.dashboard.visits import known_of, usual_size
from memr_service.planning.candidates import ABSENT, Candidates
from memr_service.planning.plan import Foresight, foresee
from memr_service.run.run import Run
from memr_service.state.pass_rates import EMPTY, NO_STEP, ROW
from memr_service.state.pool import Pool

KINDS: tuple[PromptKind, ...] = ("solved", "learnable", "impossible", "unseen")
INTERVAL = (0.05, 0.95)
"""Quantiles of the pass rate that a row names."""
DIGITS = 6


@dataclass(frozen=True)
class Known:
    """A copy of what a run knew at one moment."""

    config: RunConfig
    position: int
    table: np.ndarray
    """Rows of the pass rates."""
    pool: Pool | None
    places: np.ndarray
    """The row of each of the pool's prompts, or ABSENT."""


def known_now(run: Run, candidates: Candidates | None) -> Known:
    """What a run knows. In the run thread. `candidates`: its pool."""
    rates = run.state.pass_rates
    assert rates is not None, "runs without pass rates were refused"
    places = np.empty(0, np.int64) if candidates is None else candidates.rows(rates).copy()
    pool = None if candidates is None else candidates.pool
    return Known(run.config, run.state.position, rates.used.copy(), pool, places)


@dataclass(frozen=True)
class PromptList:
    """m prompts with what is foreseen of each. Every array is (m,)."""

    rows: np.ndarray
    numbers: np.ndarray
    """The number of each in the pool, or ABSENT."""
    pool: Pool | None
    foresight: Foresight
    kinds: np.ndarray
    """The number of each one's kind among KINDS."""
    sortable: dict[str, np.ndarray]
    """`step`, `p`, `spread`, `visits`."""
    group_size: int
    position: int

    @classmethod
    def of(cls, known: Known) -> PromptList:
        """All prompts of which a run knows something, and all of its pool."""
        numbers = np.full(len(known.table), ABSENT, np.int64)
        inside = np.flatnonzero(known.places != ABSENT)
        numbers[known.places[inside]] = inside
        used = known.table["key"].any(axis=1)
        missing = np.setdiff1d(np.arange(len(known.places)), numbers[used])
        added = np.full(len(missing), EMPTY, ROW)
        if known.pool is not None:
            added["key"] = known.pool.keys[missing]
        rows = np.concatenate([known.table[used], added])
        about, size = known_of(rows), usual_size(known.config, known.table)
        found = foresee(about, size, about.next_step)
        kinds = np.where(found.seen, 1, 3)
        kinds[found.retired], kinds[found.solved] = 2, 0
        return cls(
            rows=rows,
            numbers=np.concatenate([numbers[used], missing]),
            pool=known.pool,
            foresight=found,
            kinds=kinds,
            sortable={
                "step": rows["recent"][:, 0],
                "p": found.a / (found.a + found.b),
                "spread": 1 - found.equal,
                "visits": rows["visits"],
            },
            group_size=size,
            position=known.position,
        )

    def of_pool(self) -> PromptList:
        """Those that the pool has."""
        inside = self.numbers != ABSENT
        found = self.foresight
        return replace(
            self,
            rows=self.rows[inside],
            numbers=self.numbers[inside],
            foresight=Foresight(*(column[inside] for column in (found.a, found.b, found.equal, found.seen))),
            kinds=self.kinds[inside],
            sortable={name: column[inside] for name, column in self.sortable.items()},
        )

    def counts(self) -> PromptKinds:
        """How many prompts are of each kind."""
        counted = np.bincount(self.kinds, minlength=len(KINDS)).tolist()
        return PromptKinds(**dict(zip(KINDS, counted, strict=True)))

    def find(self, sort: str, *, ascending: bool, kind: PromptKind | None, visited: bool | None) -> np.ndarray:
        """Places of the prompts that match, in order; equal values in the order in which they were visited.

        Raises:
            InvalidRequest: `sort` is not in `sortable`.
        """
        if sort not in self.sortable:
            raise InvalidRequest(
                f"Prompts cannot be sorted by {sort[:64]!r}.",
                value=sort[:64],
                limit=list(self.sortable),
                remedy="Name one of these.",
            )
        wanted = np.ones(len(self.rows), bool)
        if kind is not None:
            wanted &= self.kinds == KINDS.index(kind)
        if visited is not None:
            wanted &= (self.rows["visits"] > 0) == visited
        places = np.flatnonzero(wanted)
        values = self.sortable[sort][places]
        return places[np.argsort(values if ascending else -values, kind="stable")]

    def place(self, key: bytes) -> int | None:
        """The place of a prompt; None if it is not among them."""
        found = np.flatnonzero((self.rows["key"] == np.frombuffer(key, np.uint8)).all(axis=1))
        return int(found[0]) if len(found) else None

    def key(self, place: int) -> bytes:
        """The identity of a prompt."""
        return bytes(self.rows["key"][place].tobytes())

    def name(self, place: int) -> str | None:
        """The id of a prompt; None if the pool does not have it."""
        number = int(self.numbers[place])
        return None if number == ABSENT or self.pool is None else self.pool.name(number)

    def page(self, places: np.ndarray, texts: dict[bytes, str]) -> list[KnownPrompt]:
        """The prompts at some places, with the beginnings of texts by identity."""
        a, b = self.foresight.a[places], self.foresight.b[places]
        low, high = (np.round(betaincinv(a, b, one), DIGITS).tolist() for one in INTERVAL)
        p = np.round(self.sortable["p"][places], DIGITS).tolist()
        spread = np.round(self.sortable["spread"][places], DIGITS).tolist()
        return [
            KnownPrompt(
                key=self.key(place).hex(),
                prompt_id=self.name(place),
                prompt=texts.get(self.key(place)),
                kind=KINDS[self.kinds[place]],
                p=p[number],
                low=low[number],
                high=high[number],
                spread=spread[number],
                visits=int(self.rows["visits"][place]),
                step=_step(int(self.rows["recent"][place, 0])),
                source=self._source(place),
            )
            for number, place in enumerate(places.tolist())
        ]

    def _source(self, place: int) -> Literal["own", "prior", "none"]:
        if self.rows["visits"][place]:
            return "own"
        return "prior" if self.foresight.seen[place] else "none"


def _step(recent: int) -> int | None:
    return None if recent == NO_STEP else recent
