"""Memory-R+ written straightforwardly: one completion after another, with each text encoded alone wherever it is used.

The paper's released code does the same: it encodes six texts per completion, the prompt and the completion once each
for storing, exploit and explore. This is a separate implementation that follows the equations.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

WINDOW = 100


class Store:
    """The prompts of one memory and the completions under each, as lists."""

    def __init__(self) -> None:
        self.keys: list[np.ndarray] = []
        self.values: list[list[np.ndarray]] = []

    def insert(self, prompt: np.ndarray, completion: np.ndarray) -> None:
        """Append a completion under its prompt."""
        for key, values in zip(self.keys, self.values, strict=True):
            if np.array_equal(key, prompt):
                values.append(completion)
                return
        self.keys.append(prompt)
        self.values.append([completion])

    def read(self, prompt: np.ndarray, k: int) -> np.ndarray | None:
        """All completions under the k nearest prompts (m, d)."""
        if not self.keys:
            return None
        near = np.argsort(-(np.stack(self.keys) @ prompt))[:k]
        return np.stack([value for number in near.tolist() for value in self.values[number]])


class Singly:
    """Rewards one by one, with a sentence-transformers model."""

    def __init__(self, model: Any, k: int) -> None:
        self._model = model
        self._k = k
        self._success, self._failure = Store(), Store()
        self._exploit: deque[float] = deque(maxlen=WINDOW)
        self._explore: deque[float] = deque(maxlen=WINDOW)

    def reward(self, prompt: str, completion: str, outcome: float) -> float:
        """Store a completion, then score it."""
        store = self._success if outcome > 0.5 else self._failure
        store.insert(self._encode(prompt), self._encode(completion))
        return self._scaled(self._exploit, self.exploit(prompt, completion)) + self._scaled(
            self._explore, self.explore(prompt, completion)
        )

    def exploit(self, prompt: str, completion: str) -> float | None:
        """Minus the distance to the mean of the successes."""
        query, answer = self._encode(prompt), self._encode(completion)
        near = self._success.read(query, self._k)
        return None if near is None else -float(np.linalg.norm(answer - near.mean(axis=0)))

    def explore(self, prompt: str, completion: str) -> float | None:
        """One minus the cosine to the most similar failure."""
        query, answer = self._encode(prompt), self._encode(completion)
        near = self._failure.read(query, self._k)
        return None if near is None else 1 - float((near @ answer).max())

    def _scaled(self, window: deque[float], raw: float | None) -> float:
        if raw is None:
            return 0.0
        window.append(raw)
        low, high = min(window), max(window)
        return (raw - low) / (high - low + 1e-8)

    def _encode(self, text: str) -> np.ndarray:
        return np.asarray(self._model.encode(text, show_progress_bar=False))
