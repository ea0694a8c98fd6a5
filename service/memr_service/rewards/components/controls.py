"""random and shuffled: the controls, which a component must beat before it can be said to help.

Both take their bits from SplitMix64 (Steele, Lea and Flood, 2014) by number instead of one after another. A value is a
function of its seed and number only: the same on every machine and with every version of numpy.
"""

from __future__ import annotations

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
WORD = 2**64 - 1


def random(seed: int, serials: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) that do not depend on the completions (n,).

    A reward without information can already change a run, on some models a lot (arXiv 2506.10947). A component helps
    if it does more than this.

    Args:
        seed: the run's.
        serials: serial number of each completion (n,).
    """
    return (_bits((seed,), serials.astype(np.uint64)) >> np.uint64(11)) * 2.0**-53


def shuffled(values: np.ndarray, seed: int, position: int) -> np.ndarray:
    """The values (n,) in random order among the items; NaN stays where it is.

    These are the numbers of the component they come from, with the same mean and spread, but each belongs to another
    completion. The control for the content of a memory.

    Args:
        values: raw values of a component (n,).
        seed: the run's.
        position: the record's, so that each request has another order.
    """
    defined = np.flatnonzero(~np.isnan(values))
    order = np.argsort(_bits((seed, position), np.arange(len(defined), dtype=np.uint64)), kind="stable")
    mixed = values.astype(np.float64)
    mixed[defined] = mixed[defined[order]]
    return mixed


def _bits(keys: tuple[int, ...], counters: np.ndarray) -> np.ndarray:
    """64 random bits for each counter (n,); different keys give independent streams."""
    state = np.zeros(1, np.uint64)
    for key in keys:
        state = _mix(state + np.array([key & WORD], np.uint64))
    return _mix(state + counters * GOLDEN)


def _mix(z: np.ndarray) -> np.ndarray:
    """The step and the finaliser of SplitMix64; arithmetic is modulo 2^64."""
    z = z + GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
