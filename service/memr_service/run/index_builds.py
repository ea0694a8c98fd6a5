"""Background builds of a run's index graphs. Finished graphs are kept in files; records say when one comes into use."""

from __future__ import annotations

import logging
from concurrent.futures import Executor, Future
from threading import Event

from memr_service.memory.hnsw import Graph, VectorRange, build
from memr_service.memory.index import Index
from memr_service.state.record import IndexChange
from memr_service.state.state import State
from memr_service.store.base import StoredRun
from memr_service.store.capabilities import IndexFiles

logger = logging.getLogger("memr.run")


class IndexBuilds:
    """The graphs that are being built for a run, and the files of those that are finished."""

    def __init__(self, run: StoredRun, files: IndexFiles | None, background: Executor, seed: int) -> None:
        self._run = run
        self._files = files
        self._background = background
        self._seed = seed
        self._given_up = Event()
        self.begun: dict[str, tuple[int, int, Future[Graph]]] = {}
        """Index -> range and work of the newest graph that is not in use yet."""

    def changes(self, state: State) -> list[IndexChange]:
        """The changes for the next record: finished graphs come into use, and graphs that are due are begun."""
        changes = []
        for name, index in state.indexes.all().items():
            begun = self.begun.get(name)
            if begun is None:
                if wanted := index.next_graph():
                    changes.append(IndexChange(name, "build", *wanted))
            elif begun[2].done():
                start, stop, work = begun
                if error := work.exception():
                    logger.warning("an index of run %s could not be built: %r", self._run.run_id, error)
                    del self.begun[name]
                else:
                    changes.append(IndexChange(name, "swap", start, stop))
        return changes

    def follow(self, changes: list[IndexChange], state: State) -> None:
        """Carry out the changes of a record that `state` has applied: begin builds, delete files not needed."""
        for change in changes:
            if change.change == "build":
                work = self._background.submit(self._build, change.index, state.indexes.building[change.index])
                self.begun[change.index] = (change.start, change.stop, work)
            else:
                self.begun.pop(change.index)
                self._sweep(state)

    def find(self, index: Index, name: str, start: int, stop: int) -> Graph | None:
        """The graph of an index over a range; None if it has to be built now."""
        begun = self.begun.get(name)
        if begun is not None and begun[:2] == (start, stop):
            return begun[2].result()
        if self._files is None:
            return None
        return index.load(start, stop, self._files.find(self._run.uid, _file(name, start, stop)))

    def close(self) -> None:
        """Stop the builds that are not finished."""
        self._given_up.set()
        for _, _, building in self.begun.values():
            building.cancel()

    def _build(self, name: str, vectors: VectorRange) -> Graph:
        graph = build(vectors, self._seed, self._given_up)
        if self._files is not None:
            self._files.save(self._run.uid, _file(name, vectors.start, vectors.stop), graph.save)
        return graph

    def _sweep(self, state: State) -> None:
        """Remove the files of graphs that newer graphs have replaced."""
        if self._files is None:
            return
        used = {_stem(name, start, stop) for name, (start, stop, _) in self.begun.items()}
        for name, index in state.indexes.all().items():
            used |= {_stem(name, graph.start, graph.stop) for graph in index.graphs}
        self._files.sweep(self._run.uid, used)


def _file(name: str, start: int, stop: int) -> str:
    return f"{_stem(name, start, stop)}.hnsw"


def _stem(name: str, start: int, stop: int) -> str:
    return f"{name}-{start}-{stop}"
