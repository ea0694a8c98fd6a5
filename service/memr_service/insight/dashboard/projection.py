"""A sample of both memories laid out on a plane: the two principal components of its embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memr_service.run.run import Run
from memr_service.state.state import SIDES

NO_AXIS = 1e-6
"""Of the longest axis: what is shorter is rounding, and points nowhere."""


@dataclass(frozen=True)
class Sample:
    """m stored completions: a copy that the run does not change any more."""

    memories: np.ndarray
    """Their names."""
    serials: np.ndarray
    outcomes: np.ndarray
    vectors: np.ndarray
    """(m, d) float32."""


def sample(run: Run, most: int) -> Sample | None:
    """At most `most` stored completions, evenly over each memory's ages; half from either, more where one has less."""
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
    """Principal component analysis.

    Args:
        vectors: (m, d).

    Returns:
        (m, 2) coordinates, and the share of the variance along each. An axis points to where its largest loading is
        positive, so that a map does not turn over from one look to the next; axes that there are not are 0.
    """
    centred = (vectors - vectors.mean(axis=0, dtype=np.float64)).astype(np.float64)
    wide = len(centred) < centred.shape[1]  # whichever of the two matrices is the smaller one has the same spectrum
    lengths, ways = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    lengths, axes = np.maximum(lengths[::-1], 0), ways[:, :-3:-1].T
    if wide:
        axes = axes @ centred
        norms = np.linalg.norm(axes, axis=1, keepdims=True)
        axes /= np.where(norms > NO_AXIS * norms.max(), norms, np.inf)
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    at, spread = np.zeros((len(vectors), 2)), np.zeros(2)
    at[:, : len(axes)] = centred @ axes.T
    spread[: len(axes)] = lengths[:2]
    shares = spread / (float(lengths.sum()) or 1.0)
    return at, (float(shares[0]), float(shares[1]))
