"""The runs of a store by name: opened, created, forgotten and closed. Called by the run thread."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any

import numpy as np
import orjson
from memr_client.errors import Conflict, ProblemError, Unavailable, UnknownRun
from memr_client.schemas import Recent, RunConfig, RunInfo

from memr_service.run.journal import stored_record
from memr_service.run.live_state import Damaged, Limits, Rewound
from memr_service.run.new_runs import check_law, check_new
from memr_service.run.presets import differences
from memr_service.run.recent import recent
from memr_service.run.run import Run, setting_up
from memr_service.run.summary import summary
from memr_service.state.law import LAW, LAWS
from memr_service.state.state import State
from memr_service.store.base import AlreadyAnswered, Moved, NewResponse, StoredRecord, StoredRun, Tip, restored
from memr_service.store.capabilities import Store

MOST_SHOWN = 120
"""Characters that an error shows of one field of a config."""

QUICK_S = 0.1
"""A run that cannot be opened is read again for each request if that fails within so many seconds."""
PAUSE = 10
"""Otherwise it is left alone for so many times as long as the attempt took, because all runs wait meanwhile."""

TURN_S = 0.005
"""Descriptions of runs give way to other requests after so many seconds."""

logger = logging.getLogger("memr.engine")


class RunRegistry:
    """The runs of a store. Each is in memory from its first use on."""

    def __init__(self, store: Store, background: Executor, limits: Limits) -> None:
        self.on_forget: list[Callable[[Run], None]] = []
        """Called with each `Run` that must not be used any more."""
        self.rewinds = 0
        """How often a run was read again because a shared store had lost records of it."""
        self._store = store
        self._background = background
        self._limits = limits
        self._open: dict[str, Run] = {}
        self._failed: dict[int, tuple[ProblemError, float]] = {}  # uid -> why it was not opened, until when that holds
        self._summaries: dict[int, tuple[Tip | None, RunInfo]] = {}  # of runs that are not in memory
        self._recents: dict[int, tuple[tuple[int, int], Recent | None]] = {}  # at (branch, position)

    def names(self) -> list[str]:
        """The runs that are in memory (safe from any thread)."""
        return list(self._open)

    def opened(self, run_id: str) -> Run | None:
        """The run, if it is in memory and no other process can have changed it (safe from any thread)."""
        return self._open.get(run_id) if self._store.shared is None else None

    def holds(self, run: Run) -> bool:
        """Whether a run is still in use (safe from any thread)."""
        return self._open.get(run.stored.run_id) is run

    def find(self, run_id: str) -> Run | None:
        """The run as it is in the store, read from there if necessary; None if there is none of that name.

        Raises:
            Conflict: it was created under a law that this release does not know. Damaged: what is stored of it does not
                make a state.
        """
        self._close_idle(run_id)
        if (run := self._open.get(run_id)) is not None:
            with self.using(run):
                run.live.settle()
                run.live.catch_up()
                return run
        if (stored := self._store.runs.find(run_id)) is not None:
            self._open[run_id] = self._read(stored)
            self._failed.pop(stored.uid, None)
            self._summaries.pop(stored.uid, None)
        return self._open.get(run_id)

    def stored(self, run_id: str) -> StoredRun | None:
        """What the store has under that name, without opening the run."""
        return self._store.runs.find(run_id)

    def all_stored(self) -> list[StoredRun]:
        """All runs by name, without opening any."""
        return self._store.runs.all()

    def get(self, run_id: str) -> Run:
        """The run of that name, which exists."""
        run = self.find(run_id)
        assert run is not None
        return run

    def describe(self, stored: StoredRun) -> RunInfo:
        """Describe a run: from memory if it is there and up to date, otherwise what is stored about it."""
        tip = None if self._store.shared is None else self._store.shared.tip(stored.uid)
        run = self._open.get(stored.run_id)
        if run is not None and run.uid == stored.uid:
            with self.using(run):
                run.live.settle()
            if self.holds(run) and (
                tip is None or (tip.branch, tip.position) == (run.journal.branch, run.state.position)
            ):
                return run.info()
        known = self._summaries.get(stored.uid)
        if known is None or known[0] != tip:
            known = self._summaries[stored.uid] = tip, summary(stored, self._store)
        found = known[1]
        if stored.uid in self._failed:
            found = found.model_copy(update={"damaged": self._failed[stored.uid][0].in_one_line})
        return found

    def describe_next(self, left: deque[StoredRun], recent: bool) -> list[RunInfo]:
        """Take runs from `left` and describe them, for `TURN_S` seconds at most, but at least one.

        Runs deleted meanwhile are left out.

        Args:
            recent: also tell of their newest steps.
        """
        found, until = list[RunInfo](), time.monotonic() + TURN_S
        while left:
            stored = left.popleft()
            with suppress(UnknownRun):
                info = self.describe(stored)
                found.append(info.model_copy(update={"recent": self.recent(stored, info)}) if recent else info)
            if time.monotonic() > until:
                break
        return found

    def recent(self, stored: StoredRun, info: RunInfo) -> Recent | None:
        """The newest steps of a run that was described as `info`, without opening it."""
        where = info.branch, info.position
        known = self._recents.get(stored.uid)
        if known is None or known[0] != where:
            known = self._recents[stored.uid] = where, recent(stored, self._store, info.position)
        return known[1]

    def create(
        self,
        run_id: str,
        config: RunConfig,
        encoder: dict[str, Any] | None,
        prior: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    ) -> tuple[RunInfo, bool]:
        """Create a run with this config, and return whether it is new; without completions its config may be replaced.
        It then keeps its pool and the counts that it was sent.

        Args:
            encoder: the fingerprint of the run's encoder; None if it is not known.
            prior: what the run's prior runs know, as `setting_up` takes it; None if it has none, or if a run with this
                config exists.

        Raises:
            Conflict: the run has completions and another config, or was sent counts and is to have prior runs.
            InvalidRequest: a new run may not have this config. Unavailable: the run that existed was deleted meanwhile.
        """
        run = self.find(run_id)
        if run is None and config.prior_runs and prior is None:
            raise Unavailable(f"Run {run_id!r} has just been deleted.", remedy="Try again.", retry_after=1)
        created = run is None and self._create(run_id, config, encoder, [] if prior is None else [prior])
        if run is None:
            run = self.get(run_id)
        if run.config == config:
            return run.info(), created
        fields = differences(run.config, config)
        if run.state.serial > 0:
            raise Conflict(
                f"Run {run_id!r} exists with another config: {_compared(run.config, config, fields, 'is', 'not')}.",
                value=config.model_dump(mode="json", include=set(fields)),
                limit=run.config.model_dump(mode="json", include=set(fields)),
                remedy="Use another name, or delete the run first.",
                fields=fields,
            )
        check_new(config, self._limits.scoring_s)
        if run.state.position or prior is not None:
            begins = _begins_again(run, config, prior)
            self.delete(run.stored)
            self._create(run_id, config, encoder, begins)
        else:
            check_law(config, run.law)
            self._store.runs.replace(run.uid, config.model_dump_json(), _packed(encoder))
            self.forget(run)
        changes = _compared(run.config, config, fields, "was", "now")
        told = f"The run had no completions, so its config was replaced: {changes}."
        return self.get(run_id).info().model_copy(update={"warnings": [told]}), False

    def find_or_create(self, run_id: str, config: RunConfig, encoder: dict[str, Any] | None) -> Run:
        """The run of that name, created with this config if there is none."""
        run = self.find(run_id)
        if run is None:
            self._create(run_id, config, encoder)
        return run or self.get(run_id)

    def delete(self, stored: StoredRun) -> None:
        """Remove a run and everything stored for it. It need not be possible to open it."""
        if (run := self._open.get(stored.run_id)) is not None and run.uid == stored.uid:
            self.forget(run)
        self._store.runs.delete(stored.uid)
        self._failed.pop(stored.uid, None)
        self._summaries.pop(stored.uid, None)
        self._recents.pop(stored.uid, None)

    def reclaim(self) -> bool:
        """Give some space of deleted runs back. Returns whether there is more."""
        return self._store.runs.reclaim()

    @contextmanager
    def using(self, run: Run) -> Iterator[None]:
        """Change a run in the `with` block. The run is forgotten if its memory proves to be out of date.

        If another process has changed or deleted the run, or answered the request, the block ends early and nothing is
        raised.
        """
        try:
            yield
        except AlreadyAnswered:
            pass
        except (Moved, UnknownRun) as error:
            logger.info("run %s is read again: %s", run.stored.run_id, error.in_one_line)
            self.rewinds += isinstance(error, Rewound)
            self.forget(run)
        except ProblemError:
            if run.live.torn:
                self.forget(run)
            raise
        except BaseException:
            # A defect: memory may differ from what is stored, so the next request reads the run again.
            logger.error("run %s is read again: a change of it failed", run.stored.run_id)
            self.forget(run)
            raise

    def forget(self, run: Run) -> None:
        """Take a run out of memory. It is read again when it is next needed."""
        if self.holds(run):
            del self._open[run.stored.run_id]
            for call in self.on_forget:
                call(run)

    def tidy(self) -> None:
        """Let the store do work that a later commit would otherwise do."""
        self._store.tidy()

    def close(self) -> None:
        """Close all runs; each may save a snapshot."""
        for run in self._open.values():
            self._leave(run)
        self._open.clear()

    def _create(
        self,
        run_id: str,
        config: RunConfig,
        encoder: dict[str, Any] | None,
        begins: Sequence[Mapping[str, Mapping[str, np.ndarray]]] = (),
    ) -> bool:
        """Create a run, or return False because another process has just done so.

        Args:
            begins: what its first records set up, each as `setting_up` takes it.
        """
        check_new(config, self._limits.scoring_s)
        given = run_id, config.model_dump_json(), LAW, _packed(encoder), now()
        state = State(config)
        records: list[tuple[StoredRecord, list[NewResponse]]] = []
        for what in begins:
            record, payload = setting_up(state, 0, **what)
            state.apply(record)
            records.append((stored_record(record, payload), []))
        try:
            if records:
                restored(self._store.runs.restore(*given, records))
            else:
                self._store.runs.create(*given)
        except Conflict:
            return False
        return True

    def _read(self, stored: StoredRun) -> Run:
        if stored.law not in LAWS:
            raise Conflict(
                f"Run {stored.run_id!r} was created under law {stored.law}, this server follows laws up to {LAW}.",
                value=stored.law,
                limit=[*LAWS],
                remedy="Serve it with the release it was created by.",
            )
        failure, until = self._failed.get(stored.uid, (None, 0.0))
        begun = time.monotonic()
        if isinstance(failure, Damaged) and begun < until:
            raise failure
        try:
            return Run(stored, self._store, self._background, self._limits)
        except (Moved, UnknownRun):
            raise
        except ProblemError as error:
            failure = error
        except Exception as error:
            logger.exception("run %s cannot be opened", stored.run_id)
            failure = Damaged(
                f"Run {stored.run_id!r} cannot be opened: {type(error).__name__}: {str(error)[:MOST_SHOWN]}.",
                remedy="Export it if you want to keep what is stored, then delete it. Other runs are not affected.",
            )
        took = time.monotonic() - begun
        self._failed[stored.uid] = failure, begun + (PAUSE * took if took > QUICK_S else 0)
        raise failure

    def _close_idle(self, wanted: str) -> None:
        """Close runs that have given no rewards for a long time, except the one wanted now."""
        since = time.monotonic() - self._limits.idle_s
        for run in [run for name, run in self._open.items() if name != wanted and run.used_at < since]:
            self._leave(run)
            self.forget(run)

    def _leave(self, run: Run) -> None:
        """Close a run. Whatever fails, other runs are not affected: reading this one again then takes longer."""
        try:
            run.live.close()
        except Exception as error:
            logger.warning("run %s leaves memory without a snapshot: %r", run.stored.run_id, error)


def _begins_again(
    run: Run, config: RunConfig, prior: Mapping[str, Mapping[str, np.ndarray]] | None
) -> list[Mapping[str, Mapping[str, np.ndarray]]]:
    """What a run without completions sets up again under another config: counts and decisions that it was sent, and the
    pool.

    Raises:
        Conflict: it was sent counts, and is to have prior runs now.
    """
    begins = [] if prior is None else [prior]
    rates = run.state.pass_rates
    if rates is not None and len(rates) and not run.config.prior_runs:
        if prior is not None:
            raise Conflict(
                f"Run {run.stored.run_id!r} starts from counts that it was sent, so it cannot start from prior runs.",
                value=[one.run for one in config.prior_runs or []],
                remedy="Use another name, or delete the run first.",
            )
        begins.append({"prior": rates.start()})
    if len(run.state.decisions) and not run.config.prior_runs and prior is None:
        begins.append({"decisions": run.state.decisions.arrays()})
    if run.state.pool is not None:
        begins.append({"pool": run.state.pool.arrays()})
    return begins


def now() -> str:
    """The time as runs and checkpoints record it: UTC, ISO 8601, in milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _compared(have: RunConfig, given: RunConfig, fields: list[str], verb: str, other: str) -> str:
    """What two configs have in the fields in which they differ: "k is 1, not 5; window is 100, not 50"."""
    one, two = have.model_dump(mode="json"), given.model_dump(mode="json")
    return "; ".join(f"{name} {verb} {_short(one[name])}, {other} {_short(two[name])}" for name in fields)


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _packed(encoder: dict[str, Any] | None) -> str | None:
    return None if encoder is None else orjson.dumps(encoder).decode()
