"""The vector indexes of a run, and the graphs that its records have them build and use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from memr_service.memory import Memory
from memr_service.memory.hnsw import Graph, VectorRange, build
from memr_service.memory.index import Index
from memr_service.state.record import IndexChange

FindGraph = Callable[[Index, str, int, int], Graph | None]
"""(index, its name, start, stop) -> the finished graph over that range, or None."""


class IndexSet:
    """The indexes of some memories, by name: a memory's own name for its prompts, NAME-completions for its completions.

    `seed` is that of the graphs.
    """

    def __init__(self, seed: int) -> None:
        self.memories: dict[str, Memory] = {}
        """The memories there are now: a run has none before its first record."""
        self._seed = seed
        self.building: dict[str, VectorRange] = {}
        """Index -> the vectors of the graph that was begun last and is not in use yet."""
        self.find_graph: FindGraph = lambda index, name, start, stop: None
        """Where finished graphs come from. A graph that is not found is built at once."""
        self._deferred: dict[str, list[tuple[int, int, VectorRange | None]]] | None = None
        """Within `deferred`: index -> ranges of the graphs to use at its end, and the vectors they were begun from."""

    def all(self) -> dict[str, Index]:
        """Every index, by name."""
        found: dict[str, Index] = {}
        for name, memory in self.memories.items():
            found[name] = memory.prompts
            if memory.index is not None:
                found[f"{name}-completions"] = memory.index
        return found

    def apply(self, change: IndexChange) -> None:
        """Do what a record says: note the vectors of a graph that was begun, or take a graph into use."""
        if change.change == "build":
            self.building[change.index] = self.all()[change.index].vector_range(change.start, change.stop)
            return
        begun = self.building.pop(change.index, None)
        same_range = begun is not None and (begun.start, begun.stop) == (change.start, change.stop)
        self._use(change.index, change.start, change.stop, begun if same_range else None)

    def freeze(self) -> dict[str, np.ndarray]:
        """The ranges of the graphs in use, as named arrays: NAME/graphs (g, 2)."""
        return {
            f"{name}/graphs": np.array([(one.start, one.stop) for one in index.graphs], np.int64).reshape(-1, 2)
            for name, index in self.all().items()
        }

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take the graphs into use that were in use when `freeze` was called."""
        for name in self.all():
            for start, stop in arrays[f"{name}/graphs"].tolist():
                self._use(name, start, stop)

    @contextmanager
    def deferred(self, *, use: bool = True) -> Iterator[None]:
        """Restore and apply inside, but score nothing: graphs are looked for, or built, only at the end.

        A graph that others have replaced by then is not needed, and may have taken minutes to build.

        Args:
            use: False: use no graph at the end either, because nothing will be scored.
        """
        self._deferred = {}
        yield
        deferred, self._deferred = self._deferred if use else {}, None
        for name, graphs in deferred.items():
            for start, stop, begun in graphs:
                self._use(name, start, stop, begun)

    def _use(self, name: str, start: int, stop: int, begun: VectorRange | None = None) -> None:
        """Take a graph into use: a finished one; else one built now from `begun`, or from what is still stored."""
        if self._deferred is not None:
            others = [one for one in self._deferred.get(name, []) if one[1] <= start or one[0] >= stop]
            self._deferred[name] = [*others, (start, stop, begun)]
            return
        index = self.all()[name]
        if index.count(start, stop):
            graph = self.find_graph(index, name, start, stop)
            index.swap(graph or build(begun or index.vector_range(start, stop), self._seed))
