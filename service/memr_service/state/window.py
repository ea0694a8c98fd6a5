"""The sliding window of raw values that scales a component (equation 6, law L6)."""

from __future__ import annotations

import numpy as np
from memr_client.schemas import Contrast, RunConfig

EPSILON = 1e-8
FLAT = 1e-6
"""If the values of a window differ by less than this, all of them scale to 0."""


def window_size(config: RunConfig, name: str) -> int:
    """How many past raw values a component is scaled by."""
    options = config.components.get(name)  # type: ignore[call-overload]
    return options.window if isinstance(options, Contrast) else config.window


def window_bounds(window: np.ndarray, values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest of the `size` newest values as each of `values` arrives (van Herk's algorithm, O(n)).

    Args:
        window: what the window held before, oldest first (at most `size`).
        values: finite raw values in item order (n,).

    Returns:
        (n,) minima and (n,) maxima, each over the window that includes the value.
    """
    sequence = np.concatenate([window, values])
    lowest, negated = _sliding_min(np.stack([sequence, -sequence]), size)[:, len(window) :]
    return lowest, -negated


def _sliding_min(sequences: np.ndarray, size: int) -> np.ndarray:
    """Minimum over the last `size` values (fewer at the start) for each position of each sequence (s, m)."""
    count, length = sequences.shape
    size = min(size, max(1, length))
    padding = -(length + size - 1) % size
    padded = np.full((count, size - 1 + length + padding), np.inf)
    padded[:, size - 1 : size - 1 + length] = sequences
    blocks = padded.reshape(count, -1, size)
    from_start = np.minimum.accumulate(blocks, axis=2).reshape(count, -1)
    to_end = np.minimum.accumulate(blocks[..., ::-1], axis=2)[..., ::-1].reshape(count, -1)
    return np.asarray(np.minimum(to_end[:, :length], from_start[:, size - 1 : size - 1 + length]))


def slide(window: np.ndarray, raw: np.ndarray, size: int) -> np.ndarray:
    """The window after the defined values of `raw` have been appended and all but the last `size` dropped (L6)."""
    return np.concatenate([window, raw[~np.isnan(raw)]])[-size:]


def scale(window: np.ndarray, raw: np.ndarray, size: int, scaling: str) -> np.ndarray:
    """Sliding min-max: (x - min) / (max - min + 1e-8), 0 where max - min < 1e-6 or x is undefined (equation 6, L6).

    Args:
        window: the values before this request, oldest first.
        raw: this request's values (n,), NaN for none; a NaN does not enter the window.
        scaling: "item" scales each value by the window that ends with it; "request" scales all by one window, which
            ends with the last value and holds at least all values of the request.

    Returns:
        (n,) in [0, 1].
    """
    defined = ~np.isnan(raw)
    values = raw[defined]
    scaled = np.zeros(len(raw))
    if not len(values):
        return scaled
    if scaling == "request":
        last = slide(window, raw, max(size, len(values)))  # all of the request, or the order would matter
        lowest, highest = np.full(len(values), last.min()), np.full(len(values), last.max())
    else:
        lowest, highest = window_bounds(window, values, size)
    scaled[defined] = np.where(spread_of(lowest, highest) < FLAT, 0.0, between(values, lowest, highest))
    return scaled


@np.errstate(over="ignore")
def spread_of(lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """highest - lowest; infinite if that is too large for a float64."""
    return np.asarray(highest - lowest)


@np.errstate(over="ignore", invalid="ignore")
def between(values: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """(x - lowest) / (highest - lowest + 1e-8), also where the differences are too large for a float64."""
    half = np.where(np.isinf(highest - lowest), 0.5, 1.0)
    return np.asarray((half * values - half * lowest) / (half * highest - half * lowest + EPSILON))
