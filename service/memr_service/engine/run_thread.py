"""The single thread that changes runs, and the queue of work done after a response was sent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
from memr_client.errors import DeadlineExceeded, ProblemError, Unavailable, UnknownRun

from memr_service.engine.idempotency import require_same_body
from memr_service.engine.run_registry import RunRegistry
from memr_service.engine.shared_thread import SharedThread
from memr_service.run.response import Response
from memr_service.run.run import Committed, Run, Submission, Written
from memr_service.state.record import Batch
from memr_service.store.base import Moved

T = TypeVar("T")

logger = logging.getLogger("memr.engine")

AFTER_S = 0.001
"""Seconds that a response gets to leave before the work that it need not wait for begins."""
REQUEST_WEIGHT = 15
"""What a request weighs in a group (`shared_thread.TOGETHER`) besides its items."""


@dataclass(frozen=True)
class _Asked:
    """A batch to score and commit, and the arguments of `RunThread.commit`."""

    batch: Batch
    submissions: Sequence[Submission]
    begin_by: float | None
    look_up: bool


class RunThread:
    """The one thread that reads and changes the runs of a registry, by turns. Used from one event loop."""

    def __init__(self, registry: RunRegistry) -> None:
        self._registry = registry
        self._turns = SharedThread("memr-runs")
        self._later: list[tuple[str, Callable[[], object]]] = []

    async def ask(self, function: Callable[..., T], *args: Any, run_id: str = "") -> T:
        """The result of a function, called in the thread once all work after the run's earlier responses is done.

        If the caller leaves before it began, it is not called.

        Args:
            run_id: the run whose turn it takes. What belongs to no run takes the turns of a run without a name.

        Raises:
            Unavailable: the thread has been shut down.
        """
        with self._unless_shut_down():
            self._start_later()
            return await asyncio.wrap_future(self._turns.submit(run_id, function, *args))

    @contextmanager
    def _unless_shut_down(self) -> Iterator[None]:
        """Raise `Unavailable` if the thread takes no more work."""
        try:
            yield
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise shutting_down() from None
            raise

    async def on_run(self, run: Run, function: Callable[..., T], *args: Any) -> T:
        """The result of `function(run, *args)`, called in the thread with all of the run's records applied."""
        return await self.ask(self._on_run, run, function, *args, run_id=run.stored.run_id)

    async def replay(self, run: Run, submission: Submission) -> Response | None:
        """The response that the request id got before; None if it is new, or if there is no id (L12).

        Raises:
            InvalidRequest: the id was used with another body.
        """
        return None if submission.request_id is None else await self.on_run(run, _replay, submission)

    async def commit(
        self,
        run: Run,
        batch: Batch,
        submissions: Sequence[Submission],
        *,
        begin_by: float | None = None,
        look_up: bool = False,
    ) -> Committed | None:
        """Score a batch, make its record durable and return the responses, in one call into the thread.

        Batches of a run that wait one after another are scored in their order, and become durable together. The record
        is applied after the response, or before the next batch is scored (`Run.reward`).

        Args:
            submissions: the requests that make up the batch.
            begin_by: `time.monotonic()` by which scoring must have begun.
            look_up: replay the response if the request id had one before. Leave it out if `replay` has just found none:
                the store refuses to commit an id twice.

        Returns:
            The responses and their record. None: the run was changed since the batch was made, or another process has
            committed the request id meanwhile; begin again with the run as it is now.

        Raises:
            InvalidRequest: the id was used with another body, or the batch does not fit the run. DeadlineExceeded: it
            is too late. StoreFull, Unavailable: nothing was committed.
        """
        run_id, kind = run.stored.run_id, run if run.journal.takes_groups else object()
        asked, weight = _Asked(batch, submissions, begin_by, look_up), REQUEST_WEIGHT + len(batch)
        with self._unless_shut_down():
            self._start_later()
            committed: Committed | None = await asyncio.wrap_future(
                self._turns.submit_alike(run_id, kind, weight, partial(self._commit, run), asked)
            )
        if committed is not None and not committed.applied:
            self.after_response(partial(self._finish, run), self._registry.tidy, run_id=run_id)
        return committed

    async def evaluate(self, run: Run, batch: Batch, submission: Submission, begin_by: float | None) -> Response:
        """Score a batch and change nothing (L10).

        Raises:
            InvalidRequest: the batch does not fit the run. DeadlineExceeded: it is too late.
        """
        return await self.on_run(run, _evaluate, batch, submission, begin_by)

    async def set_up(self, run: Run, needed: Callable[[Run], bool], **what: Mapping[str, np.ndarray]) -> bool:
        """Make a pool, decisions, or what earlier runs knew part of a run, or forget prompts (`Run.set_up`).

        Args:
            needed: called right before, with all of the run's records applied: whether there is anything to change.
                What it raises is raised, and nothing changes.

        Returns:
            False if the run was changed meanwhile; begin again with the run as it is now.
        """
        return await self.ask(self._set_up, run, needed, what, run_id=run.stored.run_id)

    async def expire(self, run: Run, names: Sequence[bytes]) -> None:
        """Write open groups that have timed out with the items that they have (`Run.expire`), if the run is in use."""
        await self.ask(self._expire, run, names, run_id=run.stored.run_id)
        self.after_response(partial(self._finish, run), run_id=run.stored.run_id)

    def after_response(self, *jobs: Callable[[], object], run_id: str = "") -> None:
        """Do a run's jobs in the thread after the response that is ready now has left, or before its next `ask`."""
        if not self._later:
            asyncio.get_running_loop().call_later(AFTER_S, self._start_later)
        self._later.extend((run_id, job) for job in jobs)

    async def close(self, last: Callable[[], object]) -> None:
        """Finish all work and call a last function in the thread, which then ends. From now on `ask` fails."""
        self._start_later()
        await asyncio.wrap_future(self._turns.end(last))
        self._turns.join()

    def shutdown(self) -> None:
        """Finish all work. After that, `ask` fails."""
        self._start_later()
        self._turns.end(_nothing)
        self._turns.join()

    def _start_later(self) -> None:
        for run_id, jobs in groupby(self._later, itemgetter(0)):
            self._turns.submit(run_id, _do, [job for _, job in jobs])
        self._later.clear()

    # In the thread

    def _on_run(self, run: Run, function: Callable[..., T], *args: Any) -> T:
        with self._registry.using(run):
            run.live.settle()
        return function(run, *args)

    def _commit(self, run: Run, asked: Sequence[_Asked]) -> list[Committed | Exception | None]:
        """Commit batches in their order, in as few groups as may be: what each is answered, as from `commit`."""
        answers: list[Committed | Exception | None] = []
        while len(answers) < len(asked):
            answers += self._commit_group(run, asked[len(answers) :])
        return answers

    def _commit_group(self, run: Run, asked: Sequence[_Asked]) -> list[Committed | Exception | None]:
        """Commit the first of some batches: their records are durable together, or none of them is.

        A batch that is refused gets its own error. If the commit fails, everyone gets its error who would have got a
        response. A defect takes the others back too, and they begin again.
        """
        answers: list[Written | Committed | Exception | None] = []
        try:
            with self._registry.using(run):
                if self._registry.holds(run):
                    run.live.settle()
                with run.group() if len(asked) > 1 else nullcontext():
                    for one in asked:
                        answers.append(self._reward(run, one))
                        if _ends_group(answers[-1]):
                            break
                return [run.respond(one) if isinstance(one, Written) else one for one in answers]
        except Exception as error:
            if isinstance(error, ProblemError) or len(answers) == len(asked):
                return [error if isinstance(one, Written) else one for one in answers] or [error]
            return [*(None if isinstance(one, Written) else one for one in answers), error]
        # `using` has ended it early: another process has changed the run.
        return [*(None if isinstance(one, Written) else one for one in answers), None]

    def _reward(self, run: Run, asked: _Asked) -> Written | Committed | ProblemError | None:
        """Score and commit one batch of a group; or why not: it has a response, it is refused, it begins again."""
        try:
            if asked.look_up and (known := _replay(run, asked.submissions[0])) is not None:
                return Committed([known], None)
            _require_time(asked.begin_by)
            if not self._registry.holds(run):
                return None
            run.live.settle()
            return run.reward(asked.batch, asked.submissions)
        except (Moved, UnknownRun):
            raise
        except ProblemError as error:
            return error

    def _set_up(self, run: Run, needed: Callable[[Run], bool], what: dict[str, Mapping[str, np.ndarray]]) -> bool:
        if self._registry.holds(run):
            with self._registry.using(run):
                run.live.settle()
                run.live.catch_up()
                if needed(run):
                    run.set_up(**what)
                return True
        return False

    def _expire(self, run: Run, names: Sequence[bytes]) -> None:
        if self._registry.holds(run):
            with self._registry.using(run):
                run.live.settle()
                run.expire(names)

    def _finish(self, run: Run) -> None:
        """Apply the run's newest record."""
        if self._registry.holds(run):
            with self._registry.using(run):
                run.live.settle()


def shutting_down() -> Unavailable:
    """The refusal of a request that arrives while the service shuts down."""
    return Unavailable("The service is shutting down.", remedy="Try again.", retry_after=1)


def _ends_group(answer: Written | Committed | Exception | None) -> bool:
    """Whether no batch may be scored on a record before it is durable: it begins the work on an index, or ends it."""
    return isinstance(answer, Written) and bool(answer.record.effects.index_changes)


def _replay(run: Run, submission: Submission) -> Response | None:
    if submission.request_id is None or (stored := run.journal.response(submission.request_id)) is None:
        return None
    require_same_body(submission.request_id, submission.body_digest, stored.body_digest)
    return Response(stored.response, replayed=True)


def _evaluate(run: Run, batch: Batch, submission: Submission, begin_by: float | None) -> Response:
    _require_time(begin_by)
    return run.evaluate(batch, submission)


def _require_time(begin_by: float | None) -> None:
    if begin_by is not None and time.monotonic() > begin_by:
        raise DeadlineExceeded(
            "The server was busy until the deadline had passed; nothing changed.",
            remedy="Send again, or allow more time (X-Request-Timeout-Ms).",
        )


def _nothing() -> None:
    pass


def _do(jobs: Sequence[Callable[[], object]]) -> None:
    for job in jobs:
        try:
            job()
        except Exception:
            logger.exception("work after a response failed")
