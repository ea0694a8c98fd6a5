"""A sample of both memories on a plane: the first two principal components of its embeddings (PCA)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memr_service.run.run import Run
from memr_service.state.state import SIDES

NO_AXIS = 1e-6
"""An axis shorter than this share of the longest one is a rounding error and has no direction."""


@dataclass(frozen=True)
class Sample:
    """A copy of m stored completions, which the run no longer changes."""

    memories: np.ndarray
    """"success" or "failure" (m,)."""
    serials: np.ndarray
    outcomes: np.ndarray
    vectors: np.ndarray
    """(m, d) float32."""


def sample(run: Run, most: int) -> Sample | None:
    """At most `most` stored completions, evenly spaced by age in each memory; None if there are none.

    Half come from each memory, and more from one if the other has fewer. In the run thread.
    """
    memories = run.state.memories
    counts = {side: memories[side].completion_count for side in memories}
    if not sum(counts.values()):
        return None
    smaller = min(counts.values())
    room = {side: min(count, max(most // 2, most - smaller)) for side, count in counts.items()}
    parts = []
    for side in SIDES:
        memory = memories[side]
        rows = memory.live_rows()
        by_age = rows[np.argsort(memory.serials[rows])]
        taken = by_age[np.linspace(0, len(by_age) - 1, room[side]).round().astype(np.int64)]
        columns = memory.serials[taken], memory.outcomes[taken], memory.completions.take(taken)
        parts.append((np.full(len(taken), side), *columns))
    return Sample(*map(np.concatenate, zip(*parts, strict=True)))


def project(vectors: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Coordinates along the first two principal components.

    Args:
        vectors: (m, d).

    Returns:
        Coordinates (m, 2) and the share of the variance along each axis. The largest loading of an axis is positive, so
        that two maps of the same memory are not mirrored. A missing axis has coordinates 0.
    """
    centred = (vectors - vectors.mean(axis=0, dtype=np.float64)).astype(np.float64)
    wide = len(centred) < centred.shape[1]  # X X^T and X^T X have the same spectrum: take the smaller one
    lengths, directions = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    lengths, axes = np.maximum(lengths[::-1], 0), directions[:, :-3:-1].T
    if wide:
        axes = axes @ centred
        norms = np.linalg.norm(axes, axis=1, keepdims=True)
        axes /= np.where(norms > NO_AXIS * norms.max(), norms, np.inf)
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    points, spread = np.zeros((len(vectors), 2)), np.zeros(2)
    points[:, : len(axes)] = centred @ axes.T
    spread[: len(axes)] = lengths[:2]
    shares = spread / (float(lengths.sum()) or 1.0)
    return points, (float(shares[0]), float(shares[1]))
