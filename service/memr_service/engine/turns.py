"""`Turns`: what waits for one worker, taken in turns by run, so that no run waits for all that another one asked."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """A queue for each run. For one thread."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()

    def add(self, run_id: str, one: T) -> None:
        """Put one at the end of its run's queue."""
        self._queues.setdefault(run_id, deque()).append(one)

    def take(self) -> T | None:
        """Remove and return the first of the run that has waited longest for its turn; None if nothing waits."""
        if not self._queues:
            return None
        run_id, queue = self._queues.popitem(last=False)
        one = queue.popleft()
        if queue:
            self._queues[run_id] = queue
        return one

    def clear(self) -> None:
        """Remove all."""
        self._queues.clear()
