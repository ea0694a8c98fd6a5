"""Outcomes: what the verifier said of each completion, evaluated once however many ask."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

Verdicts = Sequence[float | None]
RewardFunction = Callable[..., Verdicts]
"""Called as TRL calls reward functions: `f(prompts=, completions=, **columns)` -> n floats; None: cannot be judged."""

Source = Callable[..., Sequence[Any]] | str
"""Such a function, or the name of a column of the data set."""
Given = TypeVar("Given", bound=Source)

REMEMBERED = 16
"""Calls whose outcomes are kept. Who shares an outcome asks during the same call, so more would only hold memory."""


def wrap(correctness: RewardFunction) -> SharedOutcome:
    """A verifier that the trainer and the memory share: each batch is judged once, and both see the same outcomes.

    correct = wrap(correctness)
    reward_funcs = [correct, memory_reward(url, run="gsm8k-seed0", outcome=correct)]
    """
    return SharedOutcome(correctness)


class SharedOutcome:
    """See `wrap`. Thread-safe; picklable where the verifier is."""

    def __init__(self, correctness: RewardFunction) -> None:
        self._correctness = synchronous(correctness)
        self.__name__: str = getattr(correctness, "__name__", type(correctness).__name__)
        self._forget()

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """The verifier's outcomes (n), as a reward function returns them."""
        with self._lock:
            verdict = next((known for of, known in self._calls if of is completions), None)
            if mine := verdict is None:
                verdict = Future()
                # A trainer hands every reward function of a step the very same list. It is held here, so no other
                # list can take its place in memory.
                self._calls.append((completions, verdict))
        if mine:
            try:
                verdict.set_result(list(self._correctness(prompts=prompts, completions=completions, **columns)))
            except BaseException as error:
                verdict.set_exception(error)
                with self._lock:
                    self._calls.remove((completions, verdict))
        return list(verdict.result())

    def __getstate__(self) -> dict[str, Any]:
        return {"_correctness": self._correctness, "__name__": self.__name__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[tuple[Sequence[Any], Future[list[float | None]]]] = deque(maxlen=REMEMBERED)


def column(
    source: Source, name: str, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
) -> Sequence[Any]:
    """What a function says of each completion (n), or a column of the data set does.

    Raises:
        ValueError: no such column, or not one value for each completion.
    """
    if isinstance(source, str):
        if source not in columns:
            raise ValueError(f"{name}={source!r} names no column; this batch has {sorted(columns)}")
        values: Sequence[Any] = columns[source]
    else:
        values = source(prompts=prompts, completions=completions, **columns)
    if len(values) != len(completions):
        raise ValueError(f"{name} has {len(values)} values for {len(completions)} completions")
    return values


def synchronous(source: Given) -> Given:
    """The source itself.

    Raises:
        TypeError: it is a coroutine function, whose values would never arrive.
    """
    call = getattr(source, "__call__", None)  # noqa: B004 - to look at it, not to know whether there is one
    if inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(call):
        raise TypeError(f"{source!r} is asynchronous: what a memory reward asks must answer at once")
    return source
