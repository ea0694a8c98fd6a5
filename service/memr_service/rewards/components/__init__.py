"""The reward components: one pure function each, in a file of its name.

A file imports numpy, the exact cosines and its neighbours, nothing else. Symbols and shapes throughout:

- n items; a (n, d) their completions; `group` (n,) the number of each item's group; every embedding is a unit row.
- A raw value is float64, and NaN where the component is undefined for the item, for example because there is nothing to
  compare it with.

No function changes its arguments. Comparisons are made in float64 with a fixed order of summation, so that equal inputs
give equal bits on every machine (law L14). Logarithms and exponentials are those of the C library: numpy's vectorised
ones differ between processors.
"""

from memr_service.rewards.components.banded_novelty import banded_novelty
from memr_service.rewards.components.centroids import exploit_by_centroids, nearest_entry
from memr_service.rewards.components.contrast import contrast
from memr_service.rewards.components.controls import random, shuffled
from memr_service.rewards.components.error_cluster import error_cluster
from memr_service.rewards.components.exploit import exploit
from memr_service.rewards.components.explore import explore
from memr_service.rewards.components.outcome_ucb import outcome_ucb
from memr_service.rewards.components.partition import partition
from memr_service.rewards.components.value import value

__all__ = [
    "banded_novelty",
    "contrast",
    "error_cluster",
    "exploit",
    "exploit_by_centroids",
    "explore",
    "nearest_entry",
    "outcome_ucb",
    "partition",
    "random",
    "shuffled",
    "value",
]
