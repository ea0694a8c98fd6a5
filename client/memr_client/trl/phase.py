"""`Phase`: whether a batch is training, which the memory remembers, or evaluation, which it does not."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from memr_client.plain import plain
from memr_client.schemas import phase_of, unknown_split


class Phase:
    """Recognises evaluation: by `evaluating`, else by a column, else by the mode of the trainer's model. Thread-safe.

    Args:
        split_column: a column with the name of the split. What is not training is evaluation; a name that says neither
            gets a warning.
    """

    _bound: weakref.ref[Any] | None

    def __init__(self, split_column: str | None) -> None:
        self._split_column = split_column
        self._reset()

    def is_evaluation(self, columns: Mapping[str, Any]) -> bool:
        """Whether the batch with these columns is evaluation.

        Raises:
            ValueError: its rows contradict each other.
        """
        if self._switched:
            return True
        if self._split_column is not None:
            if self._split_column not in columns:
                raise ValueError(f"split_column={self._split_column!r} names no column. There are {sorted(columns)}")
            return self._by_split(plain(columns[self._split_column]))
        trainer = self.trainer(columns)
        model = getattr(trainer, "model", trainer)
        return model is not None and not model.training

    def trainer(self, columns: Mapping[str, Any]) -> Any:
        """The trainer that owns the method `log_metric`, else the bound trainer or model, else None."""
        owner = getattr(columns.get("log_metric"), "__self__", None)
        if hasattr(owner, "model"):
            return owner
        return None if self._bound is None else self._bound()

    def bind(self, trainer: Any) -> None:
        """Use the mode of this trainer or model from now on."""
        self._bound = weakref.ref(trainer)

    def _by_split(self, splits: Iterable[Any]) -> bool:
        training = set()
        for split in dict.fromkeys(splits):
            phase = phase_of(split)
            if phase is None:
                warnings.warn(f"memr: {unknown_split(split)}", stacklevel=2)
            training.add(phase == "train")
        if len(training) > 1:
            raise ValueError(f"column {self._split_column!r} mixes training and evaluation in one batch")
        return training == {False}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """A context in which every batch, from any thread, is evaluation."""
        with self._lock:
            self._switched += 1
        try:
            yield
        finally:
            with self._lock:
                self._switched -= 1

    def __getstate__(self) -> dict[str, Any]:
        return {"_split_column": self._split_column}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        """Set up the state that is not pickled."""
        self._lock = threading.Lock()
        self._switched = 0
        self._bound = None
