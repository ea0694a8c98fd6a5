"""Small batches and brute force for the tests of the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from memr_client.schemas import RunConfig
from memr_service.run.presets import resolve
from memr_service.state.record import Batch

DIMENSION = 8


def unit_rows(rng: np.random.Generator, n: int, dimension: int = DIMENSION, storage: str = "float32") -> np.ndarray:
    """Random float32 rows (n, d) of unit length, rounded as they would be stored."""
    rows = rng.normal(size=(n, dimension))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(storage).astype(np.float32)


def unit(*degrees: float) -> np.ndarray:
    rows = np.zeros((len(degrees), DIMENSION), np.float32)
    rows[:, 0], rows[:, 1] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return rows


def key(name: str) -> bytes:
    """A prompt's identity."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def prompt_row(name: str, dimension: int = DIMENSION, storage: str = "float32") -> np.ndarray:
    """A prompt's embedding (d,): always the same for the same name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return unit_rows(np.random.default_rng(seed), 1, dimension, storage)[0]


def make_batch(
    names: Sequence[str],
    completions: np.ndarray,
    outcomes: Sequence[float],
    step: int | None = None,
    storage: str = "float32",
    places: Sequence[np.ndarray] | None = None,
) -> Batch:
    """A batch of items under prompts called `names`; each name is a group.

    `places`: where each item's prompt is embedded, if not where its name says.
    """
    if places is None:
        places = [prompt_row(name, completions.shape[1], storage) for name in names]
    pairs: dict[tuple[str, bytes], int] = {}
    of = [pairs.setdefault((name, row.tobytes()), len(pairs)) for name, row in zip(names, places, strict=True)]
    groups = list(dict.fromkeys(names))
    return Batch(
        keys=[key(name) for name in names],
        prompts=np.stack([places[of.index(number)] for number in range(len(pairs))]),
        prompt_of=np.array(of, "<i4"),
        completions=completions,
        outcomes=np.array(outcomes, np.float64),
        group=np.array([groups.index(name) for name in names], "<i4"),
        lengths=np.arange(len(names), dtype="<i4"),
        step=step,
        group_names=[key(name) for name in groups],
        texts=np.array([[*hashlib.sha256(name.encode()).digest()] for name in names], np.uint8).reshape(-1, 32),
    )


def random_batch(
    rng: np.random.Generator, prompts: int, n: int, dimension: int = DIMENSION, storage: str = "float32"
) -> Batch:
    """A batch of n items under random ones of so many prompts, right or wrong by chance."""
    names = [f"prompt {number}" for number in rng.integers(prompts, size=n)]
    step = None if rng.random() < 0.5 else int(rng.integers(1000))
    return make_batch(
        names, unit_rows(rng, n, dimension, storage), rng.integers(2, size=n).tolist(), step=step, storage=storage
    )


def config(**fields: Any) -> RunConfig:
    """A resolved config, explore on from the start unless told otherwise."""
    return resolve(RunConfig(**{"explore_warmup_steps": 0, **fields}), "memory-r+", "hashed")


class PlainMemory:
    """A memory as lists: prompts in order of age, each (key, embedding, serial numbers of its completions)."""

    def __init__(self, max_prompts: int, max_completions: int) -> None:
        self.max_prompts = max_prompts
        self.max_completions = max_completions
        self.prompts: list[tuple[bytes, np.ndarray, list[int]]] = []

    def write(self, prompt: bytes, row: np.ndarray, serial: int) -> None:
        """Store a completion, the oldest leaving where there is no room."""
        for known, _, serials in self.prompts:
            if known == prompt:
                serials.append(serial)
                del serials[: -self.max_completions]
                return
        self.prompts.append((prompt, row, [serial]))
        del self.prompts[: -self.max_prompts]

    def read(
        self, prompt: bytes, row: np.ndarray, k: int, least: float | None = None, held: int | None = None
    ) -> list[int]:
        """Serial numbers of the completions under the k nearest prompts, without the one held out."""
        left = [(known, q, [serial for serial in serials if serial != held]) for known, q, serials in self.prompts]
        left = [one for one in left if one[2]]
        own = [one for one in left if one[0] == prompt]
        rest = sorted((one for one in left if one[0] != prompt), key=lambda one: -cosine(row, one[1]))
        rest = [one for one in rest if least is None or cosine(row, one[1]) >= least]
        return [serial for _, _, serials in (own + rest)[:k] for serial in serials]


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    """A cosine in float64."""
    p, q = x.astype(np.float64), y.astype(np.float64)
    return float(np.sum(p * q) / np.sqrt(np.sum(p * p) * np.sum(q * q)))
