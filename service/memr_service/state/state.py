"""A run's state: two memories, a window per component, counters. state = fold(apply, records)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgpack
import numpy as np
from memr_client.schemas import Contrast, RunConfig

from memr_service.memory import CuratedMemory, CuratedView, Memory, View
from memr_service.memory.hnsw import Graph, VectorRange, build
from memr_service.memory.index import Index
from memr_service.state.open_group import FrozenRead, OpenGroup, pin
from memr_service.state.record import GENESIS, Batch, Effects, IndexChange, Record
from memr_service.state.window import slide

SIDES = ("success", "failure")


@dataclass(frozen=True)
class Pool:
    """Columns of all items a record may write."""

    keys: list[bytes]
    prompts: list[np.ndarray]
    completions: np.ndarray
    outcomes: np.ndarray
    serials: np.ndarray


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
        self.open_groups: dict[bytes, OpenGroup] = {}
        """Groups of which some items have been answered and none stored (barrier `snapshot`)."""
        self.answers: dict[bytes, dict[str, int]] = {}
        """Prompt's identity -> answer -> how often it was given, for N prompts, where `outcome_ucb` needs it."""
        self.building: dict[str, VectorRange] = {}
        """Index -> what the graph begun last and not yet in use is built from."""
        self.find_graph: Callable[[str, int, int], Graph | None] = lambda index, start, stop: None
        """Where finished graphs come from; what it does not have is built on the spot."""
        self._put_off: dict[str, list[tuple[int, int, VectorRange | None]]] | None = None
        """Index -> graphs to be taken into use at the end of `graphs_at_the_end`, and what they were begun from."""
        self._index = index

    @property
    def dimension(self) -> int | None:
        """d, once a record has fixed it."""
        return self.memories["success"].prompts.dimension if self.memories else None

    @property
    def steps_committed(self) -> int:
        """Distinct steps, plus requests that named none (L7)."""
        return len(self.steps) + self.stepless

    def seen(self, key: bytes, answer: str) -> int:
        """How often an answer was given for a prompt."""
        return self.answers.get(key, {}).get(answer, 0)

    def sizes(self) -> dict[str, list[int]]:
        """Memory -> [prompts, completions]."""
        return {side: [len(memory.number), memory.completion_count] for side, memory in self.memories.items()} or {
            side: [0, 0] for side in SIDES
        }

    def indices(self) -> dict[str, Index]:
        """Everything that has graphs: a memory's prompts go by its name, its completions by NAME-completions."""
        found: dict[str, Index] = {}
        for side, memory in self.memories.items():
            found[side] = memory.prompts
            if memory.index is not None:
                found[f"{side}-completions"] = memory.index
        return found

    def now(self, step: int | None) -> int:
        """The step at which a request happens, by which entries age: its own; else the newest that any has named, or
        the number of steps committed (L7) if that is more."""
        return step if step is not None else max(self.step or 0, self.steps_committed)

    def views(self, completions: np.ndarray, step: int | None) -> tuple[View, View]:
        """Both memories as a request of this step sees them, to read and to stage its completions (n, d) on."""
        memories = self.memories_for(completions.shape[1])
        success, failure = (self._view(memories[side], completions, step) for side in SIDES)
        return success, failure

    def _view(self, memory: Memory, completions: np.ndarray, step: int | None) -> View:
        if isinstance(memory, CuratedMemory):
            return CuratedView(memory, completions, self.now(step))
        return View(memory, completions)

    def memories_for(self, dimension: int) -> dict[str, Memory]:
        """Both memories; empty ones while no record has fixed the dimension."""
        return self.memories or self._empty(dimension)

    def pin(self, key: bytes, prompt: np.ndarray, step: int | None) -> FrozenRead:
        """What a prompt (d,) reads now, in a request of this step."""
        views = self.views(np.empty((0, len(prompt)), np.float32), step)
        return pin(*views, key, prompt, self.config.k, self.config.min_similarity, self.warmup_left())

    def pool(self, batch: Batch, closes: Sequence[bytes], first_serial: int = 0) -> Pool:
        """Everything a record may write: the batch's items, then those left open by the groups that it closes."""
        open_before = [self.open_groups[name] for name in dict.fromkeys(closes) if name in self.open_groups]
        serials = first_serial + np.arange(len(batch))
        if not open_before:
            return Pool(batch.keys, batch.prompt_rows, batch.completions, batch.outcomes, serials)
        return Pool(
            keys=[*batch.keys, *(group.key for group in open_before for _ in group.serials)],
            prompts=[*batch.prompt_rows, *(group.prompt for group in open_before for _ in group.serials)],
            completions=np.concatenate([batch.completions, *(np.stack(group.completions) for group in open_before)]),
            outcomes=np.concatenate([batch.outcomes, *(np.array(group.outcomes) for group in open_before)]),
            serials=np.concatenate([serials, *(np.array(group.serials) for group in open_before)]),
        )

    def warmup_left(self) -> int:
        """What explore still waits for: steps, or once those are there, failure prompts; 0 when it is on (L7)."""
        steps = self.config.explore_warmup_steps - self.steps_committed
        prompts = self.config.explore_warmup_prompts - self.sizes()["failure"][0]
        return max(0, steps) or max(0, prompts)

    def apply(self, record: Record) -> None:
        """Do what a record says. It was scored on the state before it, so index changes come first."""
        batch, effects = record.batch, record.effects
        self.memories = self.memories_for(batch.dimension)
        for change in effects.index:
            self._change_index(change)
        pool = self.pool(batch, effects.closes, record.first_serial)
        stepless = {name: group.stepless for name, group in self.open_groups.items() if name in effects.closes}
        self._leave_open(batch, effects, record.first_serial)
        self._count_steps(batch, effects, stepless)
        for side, writes in (("success", effects.success), ("failure", effects.failure)):
            self.memories[side].apply(writes, pool.keys, pool.prompts, pool.completions, pool.serials, pool.outcomes)
        for name, raw in effects.raw.items():
            self.windows[name] = slide(self.windows[name], raw, window_size(self.config, name))
        self._count_answers(batch)
        self.serial = record.first_serial + len(batch)
        self.branch, self.position, self.chain = record.branch, record.position, record.chain

    def _count_answers(self, batch: Batch) -> None:
        """Count the batch's answers; past N prompts the one asked first is forgotten."""
        if "outcome_ucb" not in self.config.components:
            return
        for key, answer in zip(batch.keys, batch.answers or [None] * len(batch), strict=True):
            if answer is not None:
                counts = self.answers.setdefault(key, {})
                counts[answer] = counts.get(answer, 0) + 1
                if len(self.answers) > self.config.max_prompts:
                    del self.answers[next(iter(self.answers))]

    def _count_steps(self, batch: Batch, effects: Effects, stepless: dict[bytes, bool]) -> None:
        """Count the batch's step, or the batch where it names none; under `snapshot` each group that it completes.

        Args:
            stepless: for each of these groups that was open before whether it began without a step.
        """
        if batch.step is not None:
            self.steps.add(batch.step)
            self.step = batch.step
        if effects.left_open is None:
            self.stepless += batch.step is None
            return
        for name in effects.closes:
            self.stepless += stepless.pop(name, batch.step is None)

    def _leave_open(self, batch: Batch, effects: Effects, first_serial: int) -> None:
        """Put aside the items that wait for the rest of their group, with what they read before anything is written."""
        for name in effects.closes:
            self.open_groups.pop(name, None)
        for item in [] if effects.left_open is None else effects.left_open.tolist():
            name, prompt = batch.group_names[batch.group[item]], batch.prompts[batch.prompt_of[item]]
            group = self.open_groups.get(name)
            if group is None:
                key = batch.keys[item]
                group = self.open_groups[name] = OpenGroup(
                    key, prompt, self.pin(key, prompt, batch.step), batch.step is None
                )
            group.completions.append(batch.completions[item])
            group.outcomes.append(float(batch.outcomes[item]))
            group.serials.append(first_serial + item)

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
        for open_name, group in self.open_groups.items():
            digest.update(open_name)
            for array in group.freeze().values():
                digest.update(array.tobytes())
        digest.update(self._packed_answers())
        counters = [sorted(self.steps), self.stepless, self.step, self.serial]
        digest.update(repr(counters).encode())
        return digest.hexdigest()

    def freeze(self) -> dict[str, np.ndarray]:
        """The whole state as named arrays that will not change any more."""
        arrays = {f"window/{name}": window for name, window in self.windows.items()}
        for side, memory in self.memories.items():
            arrays |= {f"{side}/{name}": array for name, array in memory.freeze().items()}
        for name, index in self.indices().items():
            ranges = [(graph.start, graph.stop) for graph in index.graphs]
            arrays[f"{name}/graphs"] = np.array(ranges, np.int64).reshape(-1, 2)
        for number, (open_name, group) in enumerate(self.open_groups.items()):
            arrays |= {f"open/{number}/{field}": array for field, array in group.freeze().items()}
            arrays[f"open/{number}/name"] = np.frombuffer(open_name, np.uint8)
        arrays["steps"] = np.array(sorted(self.steps), np.int64)
        newest = -1 if self.step is None else self.step
        arrays["counters"] = np.array([self.serial, self.stepless, newest, self.dimension or 0], np.int64)
        arrays["answers"] = np.frombuffer(self._packed_answers(), np.uint8)
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
        self.answers = msgpack.unpackb(arrays["answers"].tobytes() or b"\x80", strict_map_key=False)
        self.windows = {name: arrays[f"window/{name}"] for name in self.config.components}
        self.memories = self._empty(dimension) if dimension else {}
        for side, memory in self.memories.items():
            memory.restore(_under(f"{side}/", arrays))
        for name in self.indices():
            for start, stop in arrays[f"{name}/graphs"].tolist():
                self._use(name, start, stop)
        self.open_groups = {}
        while frozen := _under(f"open/{len(self.open_groups)}/", arrays):
            self.open_groups[frozen["name"].tobytes()] = OpenGroup.restore(frozen)

    @contextmanager
    def graphs_at_the_end(self) -> Iterator[None]:
        """Restore and apply here, score nothing: only the graphs in use at the end are looked for, or built.

        What others have taken the place of since a snapshot is no longer kept, and may have taken minutes to build.
        """
        self._put_off = {}
        yield
        put_off, self._put_off = self._put_off, None
        for name, graphs in put_off.items():
            for start, stop, begun in graphs:
                self._use(name, start, stop, begun)

    def _packed_answers(self) -> bytes:
        """The counts of answers as bytes; none where there are none."""
        return bytes(msgpack.packb(self.answers)) if self.answers else b""

    def _change_index(self, change: IndexChange) -> None:
        if change.change == "build":
            self.building[change.memory] = self.indices()[change.memory].stretch(change.start, change.stop)
        else:
            begun = self.building.pop(change.memory, None)
            fits = begun is not None and (begun.start, begun.stop) == (change.start, change.stop)
            self._use(change.memory, change.start, change.stop, begun if fits else None)

    def _use(self, name: str, start: int, stop: int, begun: VectorRange | None = None) -> None:
        """Take a graph into use: a finished one, else one built now from what it was begun from, or is still stored."""
        if self._put_off is not None:
            others = [one for one in self._put_off.get(name, []) if one[1] <= start or one[0] >= stop]
            self._put_off[name] = [*others, (start, stop, begun)]
            return
        index = self.indices()[name]
        if index.count(start, stop):
            graph = self.find_graph(name, start, stop)
            index.swap(graph or build(begun or index.stretch(start, stop), self.config.seed))

    def _empty(self, dimension: int) -> dict[str, Memory]:
        config, indexed = self.config, "value" in self.config.components
        sizes = config.max_prompts, config.max_completions
        if config.memory.curates:
            return {
                side: CuratedMemory(dimension, *sizes, config.storage, config.memory, indexed=indexed, **self._index)
                for side in SIDES
            }
        return {side: Memory(dimension, *sizes, config.storage, indexed=indexed, **self._index) for side in SIDES}


def window_size(config: RunConfig, name: str) -> int:
    """How many past raw values a component is scaled by."""
    options = config.components.get(name)  # type: ignore[call-overload]
    return options.window if isinstance(options, Contrast) else config.window


def _under(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
