"""A value with one thing in it changed: type, size, sign, characters, or a field added or left out."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np

NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 0.5, -0.0, 1e308, -1e308, 5e-324, 1e-9, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 10**6,
)  # fmt: skip
TEXTS = (
    "", " ", "\x00", "a", "é", "e\u0301", "𝕏", "\u202e", "\ufeff", "🏳️‍🌈", "null", "NaN", "1e999", "-0", "True", "../..",
    "%00", "%2e%2e", "'; --", "<script>", "=1+1", "${x}", "{}", "[]", "\\", '"', "\n", "\r\n", "x" * 129, "x" * 70_000,
    "9" * 5000, "trainer", "all", "(a+)+$", "(?P<a>", "[[:alpha:]]", "mutated-run", "memory-r+", "math", "p5-p95",
)  # fmt: skip
WHOLE: tuple[Any, ...] = (None, True, False, [], {}, [None], [[]], {"": None}, [1, "a"], *NUMBERS, *TEXTS)


def mutated(rng: random.Random, value: Any) -> Any:
    """A copy of a value, made of dicts, lists, arrays and scalars, with one thing changed somewhere in it."""
    made = [copy.deepcopy(value)]
    holder, key = rng.choice([*places(made)])
    holder[key] = other(rng, holder[key], holder, key)
    return made[0]


def places(holder: Any) -> list[tuple[Any, Any]]:
    """Where a value stands in what holds it: all of them, (holder, key)."""
    found: list[tuple[Any, Any]] = []
    for key in [*(holder if isinstance(holder, dict) else range(len(holder)))]:
        found.append((holder, key))
        if isinstance(holder[key], dict | list):
            found += places(holder[key])
    return found


def other(rng: random.Random, value: Any, holder: Any, key: Any) -> Any:
    """Something else in place of a value; sometimes also a field of its holder."""
    kind = rng.randrange(5)
    if isinstance(value, np.ndarray):
        return array(rng, value)
    if isinstance(holder, dict) and kind == 0:
        holder[rng.choice(TEXTS) if rng.random() < 0.5 else f"{key}s"] = copy.copy(value)
        return value
    if isinstance(value, list) and value and kind < 4:
        return rng.choice(
            [value[:-1], value + value[:1], value * 50, value[::-1], value[0], [value], [rng.choice(WHOLE), *value[1:]]]
        )
    if isinstance(value, str) and kind < 3:
        at = rng.randrange(len(value) + 1)
        return value[:at] + rng.choice(TEXTS) + value[at:]
    if isinstance(value, int | float) and not isinstance(value, bool) and kind < 3:
        return rng.choice([*NUMBERS, -value, value + 1, value - 1, value * 1000, str(value), float(value)])
    return rng.choice(WHOLE)


def array(rng: random.Random, value: np.ndarray) -> np.ndarray:
    """An array of another type, shape or with another number."""
    kind = rng.randrange(6)
    if kind == 0:
        return value.astype(rng.choice(["float16", "float64", "int8", "int64", "uint8", "bool", "complex64"]))
    if kind == 1:
        return value.reshape(-1)
    if kind == 2:
        return value[..., :-1]
    if kind == 3:
        return np.concatenate([value, value])
    if kind == 4:
        return np.zeros((0, *value.shape[1:]), value.dtype)
    changed = value.copy()
    if changed.size:
        changed.reshape(-1)[rng.randrange(changed.size)] = (
            rng.choice([0, 1, 100]) if changed.dtype.kind in "iub" else np.nan
        )
    return changed
