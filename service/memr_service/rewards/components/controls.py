"""random and shuffled: what a component must beat before anything is said of it.

Both draw from SplitMix64 (Steele, Lea and Flood, 2014), counted rather than drawn one after another: a value is a
function of its seed and number alone, the same on every machine and under every version of numpy.
"""

from __future__ import annotations

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
WORD = 2**64 - 1


def random(seed: int, serials: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) that know nothing of the completions, one for each serial number (n,).

    What such a reward does to a run is the least that any reward does (arXiv 2506.10947: on some models, a lot).
    """
    return (_bits((seed,), serials.astype(np.uint64)) >> np.uint64(11)) * 2.0**-53


def shuffled(values: np.ndarray, seed: int, position: int) -> np.ndarray:
    """The defined ones of `values` (n,) dealt out anew among their places; NaN stays where it is.

    The same numbers as the component they come from, so the same mean and spread, but each about another completion.

    Args:
        position: the record's, so that each request is dealt differently.
    """
    places = np.flatnonzero(~np.isnan(values))
    order = np.argsort(_bits((seed, position), np.arange(len(places), dtype=np.uint64)), kind="stable")
    dealt = values.astype(np.float64)
    dealt[places] = dealt[places[order]]
    return dealt


def _bits(keys: tuple[int, ...], counters: np.ndarray) -> np.ndarray:
    """64 bits for each counter (n,), in a stream of their own for each choice of keys."""
    state = np.zeros(1, np.uint64)
    for key in keys:
        state = _mix(state + np.array([key & WORD], np.uint64))
    return _mix(state + counters * GOLDEN)


def _mix(z: np.ndarray) -> np.ndarray:
    """SplitMix64's step and finaliser; arithmetic is modulo 2^64."""
    z = z + GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
