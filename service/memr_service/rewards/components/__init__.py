"""What a completion can be paid for beside exploit and explore (`exploit.py`, `explore.py`): a pure function to a file.

A file is named after its component and imports numpy and its neighbours alone. Symbols and shapes throughout: n items,
a (n, d) their completions, `group` (n,) the number of each item's group, every embedding a unit row. A raw value is
float64, and NaN where there was nothing to compare with. No function changes its arguments. Comparisons are made in
float64 with a fixed order of summation, so that equal inputs give equal bits on any machine (law L14); where a
logarithm or an exponential is needed it is the C library's, for numpy's vectorised ones differ between processors.
"""

from memr_service.rewards.components.banded_novelty import banded_novelty
from memr_service.rewards.components.contrast import contrast
from memr_service.rewards.components.controls import random, shuffled
from memr_service.rewards.components.error_cluster import error_cluster
from memr_service.rewards.components.outcome_ucb import outcome_ucb
from memr_service.rewards.components.partition import partition
from memr_service.rewards.components.value import value

__all__ = [
    "banded_novelty",
    "contrast",
    "error_cluster",
    "outcome_ucb",
    "partition",
    "random",
    "shuffled",
    "value",
]
