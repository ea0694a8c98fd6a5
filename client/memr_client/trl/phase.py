"""`Phase`: whether a batch is training, which the memory remembers, or evaluation, which it does not."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Phase:
    """Recognises evaluation: by `evaluating`, else by a column, else by the mode of the trainer's model. Thread-safe.

    Args:
        split_column: a column that is "train" in training and anything else in evaluation.
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
            training = {split == "train" for split in columns[self._split_column]}
            if len(training) > 1:
                raise ValueError(f"column {self._split_column!r} mixes training and evaluation in one batch")
            return training == {False}
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
