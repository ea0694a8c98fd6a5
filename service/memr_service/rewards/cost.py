"""How long scoring a batch will take, estimated before it begins: all runs wait meanwhile.

The constants are microseconds of one core of a server of 2024, for 384 numbers in an embedding. They were measured by
scoring batches of each component; a figure within a factor of three is enough, because limits are for settings that
multiply to minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from memr_client.schemas import Exploit, RunConfig

from memr_service.state.record import Batch
from memr_service.state.state import State

ITEM = 60.0
"""Everything that is done once for an item."""
PROMPT_READ = 10.0
"""A prompt that an item's prompt reads: ranking, gathering, its sum."""
COMPARED = 0.03
"""An item and a completion in a matrix product."""
PAIRED = 1.0
"""Two siblings that are compared in float64."""
CLUSTER, CLUSTERED = 200.0, 1.5
"""A centroid of one prompt's reading, and each completion that it is compared with."""
OFFICIAL_READ, OFFICIAL_VALUE = 90.0, 0.01
"""Under the order `official`: a prompt that one item reads, and a value of the window that scales it."""
NEIGHBOURS = 500.0
"""The nearest completions of one item, for `value`."""
GRAPH_FROM = 65_536
"""`value` searches more completions than this through a graph."""


@dataclass(frozen=True)
class Size:
    """What the cost of a batch depends on.

    `items`: n. `prompts`: distinct prompts of the batch. `siblings`: sum of the squares of its groups' sizes.
    `stored_prompts`, `stored`: prompts and completions in the larger memory, the batch's own included. `scored`:
    completions that the run has scored so far.
    """

    items: int
    prompts: int
    siblings: int
    stored_prompts: int
    stored: int
    scored: int

    @classmethod
    def of(cls, state: State, batch: Batch) -> Size:
        """Of a batch that a run is about to score."""
        prompts, sizes = len(set(batch.keys)), state.sizes().values()
        return cls(
            items=len(batch),
            prompts=prompts,
            siblings=int((np.bincount(batch.group).astype(np.int64) ** 2).sum()) if len(batch) else 0,
            stored_prompts=max(size[0] for size in sizes) + prompts,
            stored=max(size[1] for size in sizes) + len(batch),
            scored=state.serial,
        )

    @classmethod
    def of_full(cls, config: RunConfig, items: int) -> Size:
        """Of a group of so many items, when the run's memories are full."""
        prompts = config.max_prompts
        return cls(items, 1, items * items, prompts, prompts * config.max_completions, config.window)


def expected_s(config: RunConfig, size: Size) -> float:
    """About how many seconds of one core scoring a batch of this size will take."""
    names = config.components
    prompts_read = min(config.k, size.stored_prompts)
    read = min(prompts_read * config.max_completions, size.stored)
    cost = size.items * ITEM
    if config.order == "official":
        cost += size.items * (OFFICIAL_READ * prompts_read + OFFICIAL_VALUE * min(config.window, size.scored))
        return (cost + COMPARED * size.items * read) / 1e6
    cost += size.prompts * prompts_read * PROMPT_READ + size.items * read * COMPARED
    exploit = names.get("exploit")
    if isinstance(exploit, Exploit) and exploit.centroids != "all" and exploit.centroids > 1:
        cost += size.prompts * exploit.centroids * (CLUSTER + CLUSTERED * read)
    if "value" in names:
        cost += size.items * (NEIGHBOURS + COMPARED * min(size.stored, GRAPH_FROM))
    cost += size.siblings * PAIRED * (("partition" in names) + ("banded_novelty" in names))
    return cost / 1e6
