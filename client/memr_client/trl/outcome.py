"""Outcomes: what the verifier said of each completion, evaluated once however many ask."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
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


@dataclass(frozen=True, eq=False)
class _Call:
    """A batch that is being judged, or was. A trainer hands the very same list to every function that it asks."""

    completions: Sequence[Any]
    """Held, so that no other list can take its place in memory."""
    contents: tuple[Any, ...]
    verdict: Future[list[float | None]] = field(default_factory=Future)

    def judges(self, completions: Sequence[Any]) -> bool:
        """Whether this is that list, with what it held."""
        same = completions is self.completions and len(completions) == len(self.contents)
        return same and all(one is other for one, other in zip(completions, self.contents, strict=True))


class SharedOutcome:
    """See `wrap`. Thread-safe; picklable where the verifier is."""

    _calls: deque[_Call]

    def __init__(self, correctness: RewardFunction) -> None:
        self._correctness = synchronous(correctness)
        self.__name__: str = getattr(correctness, "__name__", type(correctness).__name__)
        self._forget()

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """The verifier's outcomes (n), as a reward function returns them."""
        with self._lock:
            call = next((known for known in self._calls if known.judges(completions)), None)
            if mine := call is None:
                call = _Call(completions, tuple(completions))
                self._calls.append(call)
        if mine:
            try:
                outcomes = self._correctness(prompts=prompts, completions=completions, **columns)
                call.verdict.set_result(list(outcomes))
            except BaseException as error:
                call.verdict.set_exception(error)
                with self._lock:
                    self._calls = deque((known for known in self._calls if known is not call), REMEMBERED)
        return list(call.verdict.result())

    def __getstate__(self) -> dict[str, Any]:
        return {"_correctness": self._correctness, "__name__": self.__name__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._calls = deque(maxlen=REMEMBERED)


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
