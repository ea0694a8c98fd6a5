"""Outcomes: the verifier's rewards, computed once per batch and shared by the trainer and the memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from memr_client.awaiting import settled
from memr_client.plain import plain_column, plain_outcomes

Outcomes = Sequence[float | None]
RewardFunction = Callable[..., Outcomes | Awaitable[Outcomes]]
"""A reward function in TRL's form: `f(prompts=, completions=, **columns)` returns n floats; None or NaN: no verdict. It
may be asynchronous."""

Source = Callable[..., Any] | str
"""A function in TRL's form, or the name of a column of the data set."""

KEPT_BATCHES = 16
"""Number of batches whose outcomes are kept. The functions that share outcomes ask for them within one call."""


def wrap(correctness: RewardFunction) -> SharedOutcome:
    """A verifier for the trainer and the memory together. It judges each batch once, so both see the same outcomes.

    correct = wrap(correctness)
    reward_funcs = [correct, memory_reward(url, run="gsm8k-seed0", outcome=correct)]
    """
    return SharedOutcome(correctness)


@dataclass(frozen=True, eq=False)
class _Same:
    """A value that is recognised by identity. It is kept, so that no other value gets its identity."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value


@dataclass(frozen=True, eq=False)
class _Batch:
    """A batch and its outcomes."""

    completions: Sequence[Any]
    """The list object, which a trainer passes to every function in one call. Another call has another list."""
    contents: Any
    """Everything that the verifier was given, see `frozen`."""
    outcomes: Future[list[float | None]] = field(default_factory=Future)


class SharedOutcome:
    """See `wrap`. Thread-safe. Picklable if the verifier is."""

    _batches: deque[_Batch]

    def __init__(self, correctness: RewardFunction) -> None:
        if not callable(correctness):
            raise TypeError(f"wrap takes a reward function, not a value of type {type(correctness).__name__}")
        self._correctness = correctness
        self.__name__: str = getattr(correctness, "__name__", type(correctness).__name__)
        self._reset()

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """The verifier's outcomes (n), as a reward function returns them.

        Raises:
            InvalidRequest: the verifier did not return n numbers.
        """
        contents = frozen({"prompts": prompts, "completions": completions, **columns})
        with self._lock:
            known = (one for one in self._batches if one.completions is completions and one.contents == contents)
            batch = next(known, None)
            if is_first := batch is None:
                batch = _Batch(completions, contents)
                self._batches.append(batch)
        if is_first:
            try:
                outcomes = settled(self._correctness(prompts=prompts, completions=completions, **columns))
                batch.outcomes.set_result(plain_outcomes(outcomes, len(completions), self.__name__))
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
) -> list[Any]:
    """The values of each completion (n), from a function or from a column of the data set.

    Raises:
        ValueError: the column does not exist, or these are not n values.
    """
    if isinstance(source, str):
        if source not in columns:
            raise ValueError(f"{name}={source!r} names no column. This batch has the columns {sorted(columns)}")
        values = columns[source]
    else:
        values = settled(source(prompts=prompts, completions=completions, **columns))
    return plain_column(values, len(completions), name)


def frozen(value: Any, name: str = "") -> Any:
    """What tells a batch from another: texts, numbers and their containers by value, everything else by identity."""
    if isinstance(value, float):
        return repr(value)  # NaN is equal to itself here
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        # Methods such as log_metric are made anew for every call, and say nothing about the batch.
        return [(key, frozen(member, key)) for key, member in value.items() if not callable(member)]
    if isinstance(value, list | tuple):
        return [frozen(member) for member in value]
    return getattr(value, "global_step", None) if name == "trainer_state" else _Same(value)
