"""One thread that runs share by turns: one that has used little of its time waits for no queue of another's."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

MOST_IDLE = 1024
"""So many runs that do not wait are remembered before those that owe nothing are forgotten."""


TOGETHER = 1024
"""The weight of jobs that are done in one call, at most; one that is heavier, alone."""


@dataclass(frozen=True)
class _Job:
    function: Callable[..., Any]
    args: Sequence[Any] = ()
    kind: object = None
    """Jobs of one kind are done in one call; None: it is done alone."""
    weight: int = 0
    result: Future[Any] = field(default_factory=Future)


class SharedThread:
    """One thread. Of the runs that wait, the one that has used the least time is next; its own jobs stay in order.

    A run that comes back begins where the run served last began, so that nobody saves time up by waiting. Safe to call
    from any thread.
    """

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[_Job]] = {}
        self._used: dict[str, float] = {}
        """Run -> seconds used, counted from what the run served last had used when it was its turn."""
        self._now = 0.0
        self._last: _Job | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, run: str, function: Callable[..., T], *args: Any) -> Future[T]:
        """Have a function called in the thread, when it is the run's turn. A job that is cancelled before is dropped.

        Raises:
            RuntimeError: the thread ends.
        """
        return self._submit(run, _Job(function, args))

    def submit_alike(
        self, run: str, kind: object, weight: int, function: Callable[[list[Any]], Sequence[Any]], argument: Any
    ) -> Future[Any]:
        """Have a function called with the arguments of all jobs of a kind that wait one after another.

        Args:
            kind: jobs of one kind, the same object, have functions that do the same.
            weight: those of a call weigh `TOGETHER` at most.
            function: returns a result for each argument, or the exception that is its result.

        Raises:
            RuntimeError: the thread ends.
        """
        return self._submit(run, _Job(function, (argument,), kind, weight))

    def _submit(self, run: str, job: _Job) -> Future[Any]:
        with self._changed:
            if self._last is not None:
                raise RuntimeError("no work is taken after shutdown")
            if run not in self._waiting:
                self._waiting[run] = deque()
                self._used[run] = max(self._used.get(run, 0.0), self._now)
            self._waiting[run].append(job)
            self._changed.notify()
        return job.result

    def end(self, last: Callable[[], T]) -> Future[T]:
        """Take no more work, finish what waits, call a last function, and end. Only the first call counts."""
        with self._changed:
            if self._last is None:
                self._last = _Job(last)
                self._changed.notify()
            return self._last.result

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _work(self) -> None:
        while True:
            run, jobs = self._next()
            began = time.monotonic()
            _do(jobs)
            del jobs  # they would be kept, with all they hold, until the next one comes
            if run is None:
                return
            with self._changed:
                self._used[run] += time.monotonic() - began
                if not self._waiting:  # nobody is behind
                    self._now = max(self._now, self._used[run])

    def _next(self) -> tuple[str | None, list[_Job]]:
        """The next job, with those that are done in the same call, and the run whose turn it is; None with the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._last is not None)
            if not self._waiting:
                assert self._last is not None
                return None, [self._last]
            run = min(self._waiting, key=self._used.__getitem__)  # of equal ones the first that came
            self._now = self._used[run]
            jobs = _alike(self._waiting[run])
            if not self._waiting[run]:
                del self._waiting[run]
            if len(self._used) > len(self._waiting) + MOST_IDLE:
                self._used = {one: used for one, used in self._used.items() if used > self._now or one == run}
            return run, jobs


def _alike(waiting: deque[_Job]) -> list[_Job]:
    """Take the next job, and those right after it that are done in the same call."""
    jobs = [waiting.popleft()]
    weight = jobs[0].weight
    while jobs[0].kind is not None and waiting and waiting[0].kind is jobs[0].kind:
        weight += waiting[0].weight
        if weight > TOGETHER:
            break
        jobs.append(waiting.popleft())
    return jobs


def _do(jobs: list[_Job]) -> None:
    """Do jobs that are done in one call, but those that were cancelled."""
    jobs = [job for job in jobs if job.result.set_running_or_notify_cancel()]
    if not jobs:
        return
    function, alone = jobs[0].function, jobs[0].kind is None
    try:
        results = [function(*jobs[0].args)] if alone else function([job.args[0] for job in jobs])
    except BaseException as error:
        results = [error] * len(jobs)
    for job, result in zip(jobs, results, strict=True):
        if isinstance(result, BaseException):
            job.result.set_exception(result)
        else:
            job.result.set_result(result)
