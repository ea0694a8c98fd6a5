"""A run's state: two memories, a window per component, counters. state = fold(apply, records)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from memr_client.schemas import RunConfig

from memr_service import reward
from memr_service.memory import Memory, View
from memr_service.memory.index import Graph, build
from memr_service.record import GENESIS, Batch, IndexChange, Record

SIDES = ("success", "failure")


class State:
    """What a run remembers after its records so far. Only `apply` changes it."""

    def __init__(self, config: RunConfig, **index: int) -> None:
        self.config = config
        self.branch = 0
        self.position = 0
        self.chain = GENESIS
        self.serial = 0
        self.step: int | None = None
        self.steps: set[int] = set()
        self.stepless = 0
        self.windows: dict[str, np.ndarray] = {name: np.empty(0) for name in config.components}
        self.memories: dict[str, Memory] = {}
        self.building: dict[str, tuple[int, int, np.ndarray]] = {}
        """Memory -> range and embeddings of the graph begun last and not yet in use."""
        self.find_graph: Callable[[str, int, int], Graph | None] = lambda memory, start, stop: None
        """Where finished graphs come from; what it does not have is built on the spot."""
        self._index = index

    @property
    def dimension(self) -> int | None:
        """d, once a record has fixed it."""
        return self.memories["success"].prompts.dimension if self.memories else None

    @property
    def steps_committed(self) -> int:
        """Distinct steps, plus requests that named none (L7)."""
        return len(self.steps) + self.stepless

    def sizes(self) -> dict[str, list[int]]:
        """Memory -> [prompts, completions]."""
        return {side: [len(memory.number), memory.completion_count] for side, memory in self.memories.items()} or {
            side: [0, 0] for side in SIDES
        }

    def views(self, batch: Batch) -> tuple[View, View]:
        """Both memories as a batch sees them, to read and to stage writes on."""
        memories = self.memories or self._empty(batch.dimension)
        return View(memories["success"], batch.completions), View(memories["failure"], batch.completions)

    def apply(self, record: Record) -> None:
        """Do what a record says. It was scored on the state before it, so index changes come first."""
        batch, effects = record.batch, record.effects
        self.memories = self.memories or self._empty(batch.dimension)
        for change in effects.index:
            self._change_index(change)
        prompts = batch.prompts[batch.prompt_of]
        for side, writes in (("success", effects.success), ("failure", effects.failure)):
            self.memories[side].apply(writes, batch.keys, prompts, batch.completions, record.first_serial)
        for name, raw in effects.raw.items():
            self.windows[name] = reward.slide(self.windows[name], raw, self.config.window)
        if batch.step is None:
            self.stepless += 1
        else:
            self.steps.add(batch.step)
            self.step = batch.step
        self.serial = record.first_serial + len(batch)
        self.branch, self.position, self.chain = record.branch, record.position, record.chain

    def digest(self) -> str:
        """SHA-256 (hex) over memories, windows and counters (L13)."""
        digest = hashlib.sha256()
        for side, memory in self.memories.items():
            digest.update(side.encode())
            for part in memory.contents():
                digest.update(part)
        for name, window in self.windows.items():
            digest.update(name.encode())
            digest.update(window.astype("<f8").tobytes())
        counters = [sorted(self.steps), self.stepless, self.step, self.serial]
        digest.update(repr(counters).encode())
        return digest.hexdigest()

    def freeze(self) -> dict[str, np.ndarray]:
        """The whole state as named arrays that will not change any more."""
        arrays = {f"window/{name}": window for name, window in self.windows.items()}
        for side, memory in self.memories.items():
            arrays |= {f"{side}/{name}": array for name, array in memory.freeze().items()}
        arrays["steps"] = np.array(sorted(self.steps), np.int64)
        newest = -1 if self.step is None else self.step
        arrays["counters"] = np.array([self.serial, self.stepless, newest, self.dimension or 0], np.int64)
        arrays["chain"] = np.frombuffer(self.chain, np.uint8)
        return arrays

    def thaw(self) -> None:
        """What `freeze` gave out has been used."""
        for memory in self.memories.values():
            memory.thaw()

    def restore(self, branch: int, position: int, arrays: dict[str, np.ndarray]) -> None:
        """Become what `freeze` saw after record (`branch`, `position`)."""
        self.serial, self.stepless, newest, dimension = arrays["counters"].tolist()
        self.branch, self.position, self.chain = branch, position, arrays["chain"].tobytes()
        self.steps = set(arrays["steps"].tolist())
        self.step = None if newest < 0 else newest
        self.windows = {name: arrays[f"window/{name}"] for name in self.config.components}
        self.memories = self._empty(dimension) if dimension else {}
        for side, memory in self.memories.items():
            prefix = f"{side}/"
            frozen = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
            for start, stop in memory.restore(frozen):
                memory.prompts.swap(self._graph(side, start, stop))

    def _change_index(self, change: IndexChange) -> None:
        prompts = self.memories[change.memory].prompts
        if change.change == "build":
            vectors = prompts.copy_range(change.start, change.stop)
            self.building[change.memory] = (change.start, change.stop, vectors)
        else:
            prompts.swap(self._graph(change.memory, change.start, change.stop))
            self.building.pop(change.memory, None)

    def _graph(self, side: str, start: int, stop: int) -> Graph:
        """A finished graph, else one built now: from the embeddings put aside for it, else from those still stored."""
        graph = self.find_graph(side, start, stop)
        if graph is None:
            begun = self.building.get(side)
            if begun is not None and begun[:2] == (start, stop):
                vectors = begun[2]
            else:
                vectors = self.memories[side].prompts.copy_range(start, stop)
            graph = build(vectors, start, stop, self.config.seed)
        return graph

    def _empty(self, dimension: int) -> dict[str, Memory]:
        config = self.config
        return {
            side: Memory(dimension, config.max_prompts, config.max_completions, config.storage, **self._index)
            for side in SIDES
        }
