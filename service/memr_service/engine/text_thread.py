"""`TextThread`: the thread that reads, matches and measures texts, so that the event loop answers meanwhile.

Work comes in steps of some milliseconds, and runs take turns. There is one thread, because Python runs one at a time
anyway, and every further one would delay the event loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from memr_client.errors import TooLarge
from memr_client.schemas import Message, are_strings

from memr_service.engine.turns import Turns

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Work in steps: it yields between them, and returns its result."""

SLICE_S = 0.02
"""Seconds after which the next run has its turn, if a step ends."""
SMALL_CHARS, SMALL_TEXTS = 16_384, 256
"""So many texts, of so many characters together, are matched and judged on the event loop: some milliseconds."""
LIGHT_CHARS, LIGHT_TEXTS = 131_072, 1024
"""So many are hashed and measured there: a trainer's step of 64 prompts and completions."""


def at_once(steps: Steps[T]) -> T:
    """The result of work that is done here and now."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def in_one_step(function: Callable[..., T], *args: Any) -> Steps[T]:
    """A function's call as work."""
    yield
    return function(*args)


def are_light(*columns: Sequence[str | list[Message]]) -> bool:
    """Whether the texts of columns are few and short enough to be hashed and measured on the event loop: a step of a
    trainer, some 64 prompts and completions, is."""
    return are_small(*columns, most_texts=LIGHT_TEXTS, most_chars=LIGHT_CHARS)


def are_small(
    *columns: Sequence[str | list[Message]], most_texts: int = SMALL_TEXTS, most_chars: int = SMALL_CHARS
) -> bool:
    """Whether the texts of columns are few and short enough to be matched and judged on the event loop."""
    if sum(map(len, columns)) > most_texts:
        return False
    texts = characters = 0
    for column in columns:
        for number, length in _sizes(column):
            texts, characters = texts + number, characters + length
            if texts > most_texts or characters > most_chars:
                return False
    return True


def _sizes(column: Sequence[str | list[Message]]) -> Iterator[tuple[int, int]]:
    """Numbers of texts and of characters that add up to a column's."""
    if are_strings(column):
        yield len(column), sum(map(len, column))
        return
    for text in column:
        yield (1, len(text)) if isinstance(text, str) else (len(text), sum(len(message.text) for message in text))


class TextThread:
    """Work on texts for one event loop. Close it at the end."""

    def __init__(self, limit_s: float) -> None:
        """Start no thread yet.

        Args:
            limit_s: seconds of processor time that one request's work may take.
        """
        self._limit_s = limit_s
        self._turns: Turns[_Job[Any]] = Turns()
        self._thread = ThreadPoolExecutor(1, "memr-texts")
        self._serving: asyncio.Task[None] | None = None

    async def ask(self, run_id: str, steps: Steps[T], *, small: bool = False, limited: bool = True) -> T:
        """The result of work that is done in the thread. If the caller leaves, the work ends with its current step.

        Args:
            run_id: the run, which takes turns with others.
            small: whether to do it at once and here, because there is little to do.
            limited: False if the work has a limit of its own.

        Raises:
            TooLarge: the work takes too long.
        """
        if small:
            return at_once(steps)
        job = _Job(run_id, steps, self._limit_s if limited else math.inf)
        self._turns.add(run_id, job)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        result = job.result
        try:
            return await result
        finally:
            del job, result  # an exception knows this frame: they would keep each other, with the request

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while (job := self._turns.take()) is not None:
            if not job.result.done():
                await loop.run_in_executor(self._thread, job.go_on)
            if not job.settle():
                self._turns.add(job.run_id, job)


class _Job(Generic[T]):
    """One request's work."""

    def __init__(self, run_id: str, steps: Steps[T], limit_s: float) -> None:
        self.run_id = run_id
        self.result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._steps = steps
        self._limit_s = limit_s
        self._spent_s = 0.0
        self._end: tuple[T] | Exception | None = None

    def go_on(self) -> None:
        """Do some steps, in the thread."""
        until, begun = time.monotonic() + SLICE_S, time.thread_time()
        try:
            while time.monotonic() < until:
                next(self._steps)
                if self._spent_s + time.thread_time() - begun > self._limit_s:
                    raise _too_long(self._limit_s)
        except StopIteration as end:
            self._end = (end.value,)
        except Exception as error:
            self._end = error
        self._spent_s += time.thread_time() - begun

    def settle(self) -> bool:
        """Whether nothing is left to do; the caller, if it still waits, then has the result."""
        if self.result.done():  # cancelled: the caller left
            self._steps.close()
            return True
        end, self._end = self._end, None
        if end is None:
            return False
        if isinstance(end, Exception):
            self.result.set_exception(end)
        else:
            self.result.set_result(end[0])
        del self.result  # an exception knows the frames of this job
        return True


def _too_long(limit_s: float) -> TooLarge:
    return TooLarge(
        "Reading and measuring the texts of the request takes too long.",
        value=f"more than {limit_s:g} s of processor time",
        limit=f"{limit_s:g} s",
        remedy="Send fewer or shorter texts in one request, create a run with a simpler prompt_pattern, or raise "
        "MEMR_TEXT_S on the server.",
    )
