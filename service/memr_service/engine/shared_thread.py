"""One thread that runs share by turns: one that has used little of its time waits for no queue of another's."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

MOST_IDLE = 1024
"""So many runs that do not wait are remembered before those that owe nothing are forgotten."""


@dataclass(frozen=True)
class _Job:
    do: Callable[[], Any]
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
        job = _Job(partial(function, *args))
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
            run, job = self._next()
            began = time.monotonic()
            _do(job)
            del job  # it would be kept, with all it holds, until the next one comes
            if run is None:
                return
            with self._changed:
                self._used[run] += time.monotonic() - began
                if not self._waiting:  # nobody is behind
                    self._now = max(self._now, self._used[run])

    def _next(self) -> tuple[str | None, _Job]:
        """The next job and the run whose turn it is; None with the last one."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._last is not None)
            if not self._waiting:
                assert self._last is not None
                return None, self._last
            run = min(self._waiting, key=self._used.__getitem__)  # of equal ones the first that came
            self._now = self._used[run]
            job = self._waiting[run].popleft()
            if not self._waiting[run]:
                del self._waiting[run]
            if len(self._used) > len(self._waiting) + MOST_IDLE:
                self._used = {one: used for one, used in self._used.items() if used > self._now or one == run}
            return run, job


def _do(job: _Job) -> None:
    if job.result.set_running_or_notify_cancel():
        try:
            job.result.set_result(job.do())
        except BaseException as error:
            job.result.set_exception(error)
