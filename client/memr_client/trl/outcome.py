"""Outcomes: what the verifier said of each completion, evaluated once however many ask."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

Verdicts = Sequence[float | None]
RewardFunction = Callable[..., Verdicts]
"""Called as TRL calls reward functions: `f(prompts=, completions=, **columns)` -> n floats; None: cannot be judged."""

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


def judge(
    outcome: RewardFunction | str, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
) -> list[float | None]:
    """The outcome of each completion (n); None where the verifier cannot judge it.

    Raises:
        ValueError: no such column, or not one outcome for each completion.
    """
    if isinstance(outcome, str):
        if outcome not in columns:
            raise ValueError(f"outcome={outcome!r} names no column; this batch has {sorted(columns)}")
        verdicts = columns[outcome]
    else:
        verdicts = outcome(prompts=prompts, completions=completions, **columns)
    if len(verdicts) != len(completions):
        raise ValueError(f"{len(completions)} completions have {len(verdicts)} outcomes; one for each is needed")
    return [None if verdict is None else float(verdict) for verdict in verdicts]


def synchronous(function: RewardFunction) -> RewardFunction:
    """The function itself.

    Raises:
        TypeError: it is a coroutine function, whose outcomes would never arrive.
    """
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        raise TypeError(f"{function!r} is asynchronous: outcomes must come from a synchronous function")
    return function
