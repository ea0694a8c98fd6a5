"""What a new run takes over from earlier runs: their counts of right and wrong completions of each prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from memr_client.errors import InvalidRequest, Unavailable
from memr_client.schemas import PriorRun, RunConfig

from memr_service.engine.run_thread import RunThread
from memr_service.run.run import Run
from memr_service.state.codec import unseal
from memr_service.state.pass_rates import KEY_BYTES, TEXT_BYTES, PassRates
from memr_service.store.base import StoredRecord
from memr_service.store.capabilities import Store

AT_ONCE = 16
"""Records that are read in one visit to the run thread."""


class PriorRuns:
    """Reads the pass rates of runs that exist, for a run that is to be created."""

    def __init__(self, get: Callable[[str], Awaitable[Run]], thread: RunThread, store: Store) -> None:
        self._get = get
        self._thread = thread
        self._store = store

    async def gathered(self, run_id: str, config: RunConfig) -> dict[str, np.ndarray] | None:
        """What the config's prior runs know, added up: the arguments of `PassRates.start_from`; None without any.

        Args:
            run_id: the run that is to be created.

        Raises:
            UnknownRun, InvalidRequest: a prior run, or a checkpoint of it, does not exist or cannot be counted.
        """
        if not config.prior_runs:
            return None
        if any(prior.run == run_id for prior in config.prior_runs):
            raise InvalidRequest(
                f"Run {run_id!r} cannot be a prior run of itself.",
                value=run_id,
                remedy="Give the new run another name.",
            )
        tables = [await self._of(prior, config.success_threshold) for prior in config.prior_runs]
        return await asyncio.to_thread(_added_up, config.prior_runs, tables)

    async def _of(self, prior: PriorRun, threshold: float) -> np.ndarray:
        """The table of pass rates of a prior run, as far as it counts."""
        run = await self._get(prior.run)
        upto = await self._thread.on_run(run, _end, prior, self._store)
        rates = None
        if run.config.success_threshold == threshold and prior.at in ("first", "last"):
            rates = await self._thread.on_run(run, _table)
        return await self._folded(run, prior, threshold, upto) if rates is None else rates

    async def _folded(self, run: Run, prior: PriorRun, threshold: float, upto: int) -> np.ndarray:
        """The table of pass rates that a run's journal gives under this threshold, up to a position.

        What the run's own prior runs knew is part of it if it was counted under the same threshold.

        Raises:
            InvalidRequest: the journal is bounded, so it does not begin with the run. Unavailable: it ended early.
        """
        if run.stored.base or await self._thread.on_run(run, lambda run: run.journal.base):
            raise InvalidRequest(
                f"Run {prior.run!r} cannot be a prior run here: its bounded journal has dropped the first records.",
                value=prior.at,
                limit="first or last, under the same success_threshold, of a run of law 3",
                remedy=f"Use success_threshold={run.config.success_threshold} and at='first' or at='last'.",
            )
        rates, same = PassRates(threshold, run.config.group_size), run.config.success_threshold == threshold
        records = await self._thread.on_run(run, lambda run: run.journal.records(upto))
        while some := await self._thread.ask(_next, records, run_id=prior.run):
            await asyncio.to_thread(_count, rates, some, same)
        if rates.position != upto:
            raise Unavailable(
                f"Prior run {prior.run!r} was deleted or restored while it was counted.",
                value=rates.position,
                limit=upto,
                remedy="Try again.",
                retry_after=1,
            )
        return rates.used


# In the run thread


def _end(run: Run, prior: PriorRun, store: Store) -> int:
    """The position up to which a prior run counts."""
    if prior.at in ("first", "last"):
        return run.state.position
    for one in store.checkpoints.all(run.uid):
        if one.name == prior.at and run.journal.holds(one.branch, one.position):
            return one.position
    raise InvalidRequest(
        f"Prior run {prior.run!r} has no checkpoint {prior.at!r} on its history.",
        value=prior.at,
        limit=["first", "last", *(one.name for one in store.checkpoints.all(run.uid))][:20],
        remedy="Use at='first', at='last', or the name of a checkpoint.",
    )


def _table(run: Run) -> np.ndarray | None:
    return None if run.state.pass_rates is None else run.state.pass_rates.used.copy()


def _next(records: Iterator[StoredRecord]) -> list[StoredRecord]:
    return [*islice(records, AT_ONCE)]


# In any thread


def _count(rates: PassRates, records: Sequence[StoredRecord], with_prior: bool) -> None:
    for stored in records:
        batch = unseal(stored.payload).batch
        rates.follow(batch if with_prior else replace(batch, prior=None), stored.position)


def _added_up(priors: Sequence[PriorRun], tables: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The arguments of `PassRates.start_from`: the counts of prior runs by prompt, added up."""
    counts: dict[bytes, list[float]] = {}
    texts: dict[bytes, bytes] = {}
    by_text: dict[bytes, bytes] = {}
    for prior, table in zip(priors, tables, strict=True):
        for key, text, right, wrong in _counted(table, prior.at == "first"):
            name = by_text.get(text, key)
            if any(text) and any(texts.get(name, b"")) and texts[name] != text:
                continue  # another prompt of the same id; what came first stays
            total = counts.setdefault(name, [0.0, 0.0])
            total[0] += prior.weight * right
            total[1] += prior.weight * wrong
            if any(text):
                texts[name] = text
                by_text.setdefault(text, name)
    return {
        "keys": np.frombuffer(b"".join(counts), np.uint8).reshape(-1, KEY_BYTES),
        "texts": np.frombuffer(b"".join(texts.get(key, bytes(TEXT_BYTES)) for key in counts), np.uint8).reshape(
            -1, TEXT_BYTES
        ),
        "right": np.array([right for right, _ in counts.values()], np.float64),
        "wrong": np.array([wrong for _, wrong in counts.values()], np.float64),
    }


def _counted(table: np.ndarray, first: bool) -> Iterator[tuple[bytes, bytes, float, float]]:
    """(key, text, right, wrong) of each prompt that a run has visited. `first`: of its first visits."""
    visited = table[table["visits"] > 0]
    names = ("first_right", "first_wrong") if first else ("right", "wrong")
    right, wrong = (visited[name].astype(np.float64).tolist() for name in names)
    keys, texts = ([row.tobytes() for row in visited[name]] for name in ("key", "text"))
    return zip(keys, texts, right, wrong, strict=True)
