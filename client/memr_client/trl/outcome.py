"""Outcomes: the verifier's rewards, computed once per batch and shared by the trainer and the memory."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

RewardFunction = Callable[..., Sequence[float | None]]
"""A reward function in TRL's form: `f(prompts=, completions=, **columns)` returns n floats; None: no verdict."""

Source = Callable[..., Sequence[Any]] | str
"""A function in TRL's form, or the name of a column of the data set."""
SourceType = TypeVar("SourceType", bound=Source)

KEPT_BATCHES = 16
"""Number of batches whose outcomes are kept. The functions that share outcomes ask for them within one call."""


def wrap(correctness: RewardFunction) -> SharedOutcome:
    """A verifier for the trainer and the memory together. It judges each batch once, so both see the same outcomes.

    correct = wrap(correctness)
    reward_funcs = [correct, memory_reward(url, run="gsm8k-seed0", outcome=correct)]
    """
    return SharedOutcome(correctness)


@dataclass(frozen=True, eq=False)
class _Batch:
    """A batch and its outcomes. It is recognised by the list object, which a trainer passes to every function."""

    completions: Sequence[Any]
    """Kept, so that no other list gets the same identity."""
    contents: tuple[Any, ...]
    outcomes: Future[list[float | None]] = field(default_factory=Future)

    def has(self, completions: Sequence[Any]) -> bool:
        """Whether this is the same list with the same contents."""
        same = completions is self.completions and len(completions) == len(self.contents)
        return same and all(one is other for one, other in zip(completions, self.contents, strict=True))


class SharedOutcome:
    """See `wrap`. Thread-safe. Picklable if the verifier is."""

    _batches: deque[_Batch]

    def __init__(self, correctness: RewardFunction) -> None:
        self._correctness = synchronous(correctness)
        self.__name__: str = getattr(correctness, "__name__", type(correctness).__name__)
        self._reset()

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """The verifier's outcomes (n), as a reward function returns them."""
        with self._lock:
            batch = next((known for known in self._batches if known.has(completions)), None)
            if is_first := batch is None:
                batch = _Batch(completions, tuple(completions))
                self._batches.append(batch)
        if is_first:
            try:
                outcomes = self._correctness(prompts=prompts, completions=completions, **columns)
                batch.outcomes.set_result(list(outcomes))
            except BaseException as error:
                batch.outcomes.set_exception(error)
                with self._lock:
                    self._batches = deque((known for known in self._batches if known is not batch), KEPT_BATCHES)
        return list(batch.outcomes.result())

    def __getstate__(self) -> dict[str, Any]:
        return {"_correctness": self._correctness, "__name__": self.__name__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._batches = deque(maxlen=KEPT_BATCHES)


def column(
    source: Source, name: str, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
) -> Sequence[Any]:
    """The values of each completion (n), from a function or from a column of the data set.

    Raises:
        ValueError: the column does not exist, or the number of values is wrong.
    """
    if isinstance(source, str):
        if source not in columns:
            raise ValueError(f"{name}={source!r} names no column. This batch has the columns {sorted(columns)}")
        values: Sequence[Any] = columns[source]
    else:
        values = source(prompts=prompts, completions=completions, **columns)
    if len(values) != len(completions):
        raise ValueError(f"{name} has {len(values)} values for {len(completions)} completions")
    return values


def synchronous(source: SourceType) -> SourceType:
    """Check that a source is a plain function or a column name, and return it.

    Raises:
        TypeError: the source is a coroutine function. Nothing would await it.
    """
    call = getattr(source, "__call__", None)  # noqa: B004 - the method itself is inspected
    if inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(call):
        raise TypeError(f"{source!r} is asynchronous: a memory reward needs a plain function")
    return source
