"""Random requests for components and guards: groups of siblings that repeat, resemble and contradict each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import settings

GROUPS = 10 * settings.default.max_examples
"""Groups that each function is compared on with its plain twin: ten times Hypothesis's examples, fewer in `make check`.

A module that uses them has the marker `hypothesis`.
"""


@dataclass(frozen=True)
class Request:
    """A request of n completions in a few groups, mixed up, and m failures of the first group's prompt."""

    rng: np.random.Generator
    a: np.ndarray
    group: np.ndarray
    outcome: np.ndarray
    failures: np.ndarray

    @property
    def right(self) -> np.ndarray:
        return self.outcome > 0.5

    def column(self, missing: float = 0.0) -> np.ndarray:
        """Random values (n,), that share of them NaN."""
        values = self.rng.normal(size=len(self.a))
        return np.where(self.rng.random(len(self.a)) < missing, np.nan, values)


def requests(groups: int = GROUPS) -> Iterator[Request]:
    """Requests of five groups of 1 to 8 completions; some groups are all right or all wrong."""
    for seed in range(groups // 5):
        rng = np.random.default_rng(seed)
        group = rng.permutation(np.repeat(np.arange(5), rng.integers(1, 9, size=5)))
        chance = rng.choice([0.0, 0.3, 0.7, 1.0], size=5)[group]
        graded = rng.choice([1.0, 0.8, 2.0], size=len(group))
        outcome = np.where(rng.random(len(group)) < chance, graded, rng.choice([0.0, 0.5, -1.0], size=len(group)))
        yield Request(rng, rows(rng, group), group, outcome, rows(rng, np.zeros(rng.integers(0, 30), np.int64)))


def rows(rng: np.random.Generator, topic: np.ndarray, d: int = 12) -> np.ndarray:
    """Unit rows (n, d), float32: those of a topic near each other, nearer in pairs, and some of them equal."""
    n = len(topic)
    centres = rng.normal(size=(5, d))
    spread = rng.choice([0.05, 0.3, 1.0])
    vectors = centres[topic] + spread * rng.normal(size=(n, d))
    if n:
        vectors = vectors[np.where(rng.random(n) < 0.2, rng.integers(n, size=n), np.arange(n))]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def largest_difference(fast: np.ndarray, plain: Sequence[float]) -> float:
    """Between two columns (n,), which must be undefined in the same places."""
    twin = np.array(plain, np.float64)
    np.testing.assert_array_equal(np.isnan(fast), np.isnan(twin))
    return float(np.nan_to_num(np.abs(fast - twin)).max(initial=0.0))


def compare(name: str, differences: Iterable[float]) -> None:
    """Fail where a function's largest difference to its plain twin is more than rounding; print it."""
    largest = max(differences)
    print(f"{name}: largest difference to the plain twin on {GROUPS} groups: {largest:.1e}")
    assert largest <= 1e-6


def means(request: Request) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What contrast is handed: the means (n, d) of the right and of the wrong completions, and whether there are."""
    n = len(request.a)
    stored = [request.a[side].astype(np.float64) for side in (request.right, ~request.right)]
    good, bad = (np.tile(side.sum(axis=0) / max(len(side), 1), (n, 1)) for side in stored)
    return good, bad, np.full(n, all(len(side) for side in stored))
