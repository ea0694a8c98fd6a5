"""A run's state: two memories, a window per component, counters. state = fold(apply, records)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack
import numpy as np
from memr_client.schemas import RunConfig

from memr_service.memory import CuratedMemory, CuratedView, GraphSizes, Memory, View
from memr_service.state.answers import Answers
from memr_service.state.decisions import Decisions
from memr_service.state.index_set import IndexSet
from memr_service.state.law import ANSWERS, LAW, PASS_RATES
from memr_service.state.open_group import FrozenRead, OpenGroup, Overruled, freeze_read
from memr_service.state.pass_rates import PassRates
from memr_service.state.pool import Pool
from memr_service.state.record import GENESIS, Batch, Effects, Record
from memr_service.state.window import slide, window_size

SIDES = ("success", "failure")


@dataclass(frozen=True)
class WritableItems:
    """Columns of all items that a record may write."""

    keys: list[bytes]
    prompts: list[np.ndarray]
    completions: np.ndarray
    outcomes: np.ndarray
    serials: np.ndarray


class State:
    """What a run remembers after its records so far. Only `apply` changes it.

    `graph_sizes`: when an index gets a graph; None: each kind of index has its own sizes. `law`: the version of the
    semantics that the run was created under.
    """

    def __init__(self, config: RunConfig, graph_sizes: GraphSizes | None = None, law: int = LAW) -> None:
        self.config = config
        self.branch = 0
        self.position = 0
        self.chain = GENESIS
        self.serial = 0
        self.step: int | None = None
        self.steps: set[int] = set()
        self.stepless = 0
        self.windows: dict[str, np.ndarray] = {name: np.empty(0) for name in config.components}
        self.open_groups: dict[bytes, OpenGroup] = {}
        """Groups of which some items have been answered and none stored (barrier `snapshot`), by id."""
        self.answer_counts: dict[bytes, dict[str, int]] = {}
        """Prompt's identity -> answer -> how often it was given, for N prompts, where `outcome_ucb` needs it: all
        answers of as many prompts as a memory holds, other than `answers`."""
        self.pass_rates = PassRates(config.success_threshold, config.group_size) if law >= PASS_RATES else None
        self.answers = Answers(config.success_threshold, config.group_size) if law >= ANSWERS else None
        self.decisions = Decisions([])
        self.pool: Pool | None = None
        self.pool_since = 0
        """Position of the record that set the pool, or took it away."""
        self.indexes = IndexSet(config.seed)
        self._graph_sizes = graph_sizes

    @property
    def memories(self) -> dict[str, Memory]:
        """Both memories by name; none before the first record."""
        return self.indexes.memories

    @memories.setter
    def memories(self, memories: dict[str, Memory]) -> None:
        self.indexes.memories = memories

    @property
    def dimension(self) -> int | None:
        """d, once a record has fixed it."""
        return self.memories["success"].prompts.dimension if self.memories else None

    @property
    def steps_committed(self) -> int:
        """Distinct steps, plus requests that named none (L7)."""
        return len(self.steps) + self.stepless

    def times_given(self, answer: str, key: bytes) -> int:
        """How often an answer was given for a prompt."""
        return self.answer_counts.get(key, {}).get(answer, 0)

    def sizes(self) -> dict[str, list[int]]:
        """Memory -> [prompts, completions]."""
        return {side: [len(memory.number), memory.completion_count] for side, memory in self.memories.items()} or {
            side: [0, 0] for side in SIDES
        }

    def now(self, step: int | None) -> int:
        """The step of a request, by which entries age: its own if it names one; else the newest step that any request
        has named, or the number of steps committed (L7) if that is more."""
        return step if step is not None else max(self.step or 0, self.steps_committed)

    def views(self, completions: np.ndarray, step: int | None) -> tuple[View, View]:
        """Both memories as a request of this step sees them, to read, and to stage its completions (n, d) on."""
        memories = self.memories_for(completions.shape[1])
        success, failure = (self._view(memories[side], completions, step) for side in SIDES)
        return success, failure

    def _view(self, memory: Memory, completions: np.ndarray, step: int | None) -> View:
        if isinstance(memory, CuratedMemory):
            return CuratedView(memory, completions, self.now(step))
        return View(memory, completions)

    def memories_for(self, dimension: int) -> dict[str, Memory]:
        """Both memories; empty ones as long as no record has fixed the dimension."""
        return self.memories or self._empty(dimension)

    def freeze_read(self, key: bytes, prompt: np.ndarray, step: int | None) -> FrozenRead:
        """What a prompt (d,) reads now, in a request of this step."""
        views = self.views(np.empty((0, len(prompt)), np.float32), step)
        return freeze_read(*views, key, prompt, self.config.k, self.config.min_similarity, self.warmup_left())

    def writable(self, batch: Batch, closes: Sequence[bytes], first_serial: int = 0) -> WritableItems:
        """All items that a record may write: the batch's, then those of the open groups that it closes."""
        open_before = [self.open_groups[name] for name in dict.fromkeys(closes) if name in self.open_groups]
        serials = first_serial + np.arange(len(batch))
        if not open_before:
            return WritableItems(batch.keys, batch.prompt_rows, batch.completions, batch.outcomes, serials)
        return WritableItems(
            keys=[*batch.keys, *(group.key for group in open_before for _ in group.serials)],
            prompts=[*batch.prompt_rows, *(group.prompt for group in open_before for _ in group.serials)],
            completions=np.concatenate([batch.completions, *(np.stack(group.completions) for group in open_before)]),
            outcomes=np.concatenate([batch.outcomes, *(np.array(group.outcomes) for group in open_before)]),
            serials=np.concatenate([serials, *(np.array(group.serials) for group in open_before)]),
        )

    def warmup_left(self) -> int:
        """What explore still waits for: steps, then failure prompts; 0 when it is on (L7)."""
        steps = self.config.explore_warmup_steps - self.steps_committed
        prompts = self.config.explore_warmup_prompts - self.sizes()["failure"][0]
        return max(0, steps) or max(0, prompts)

    def apply(self, record: Record) -> None:
        """Do what a record says. Index changes come first, since the record was scored on the state before it."""
        batch = record.batch
        if batch.sets_up:
            self._set_up(batch, record.position)
        else:
            self._remember(record)
        if self.pass_rates is not None:
            self.pass_rates.end_record(record.position)
        self.branch, self.position, self.chain = record.branch, record.position, record.chain

    def _set_up(self, batch: Batch, position: int) -> None:
        """Take over what earlier runs knew, decisions, or a pool; or forget prompts."""
        assert self.pass_rates is not None
        if batch.prior is not None:
            self.pass_rates.start_from(**batch.prior)
        if batch.forget is not None:
            self.pass_rates.forget(**batch.forget)
        if self.answers is not None:
            self.answers.follow(batch, position, self.serial)
            if batch.decisions is not None:
                self.decisions = Decisions.of(**batch.decisions)
        if batch.pool is not None:
            pool = Pool(**batch.pool)
            self.pool, self.pool_since = pool if len(pool) else None, position

    def _remember(self, record: Record) -> None:
        """Count a record's completions, and make its writes."""
        batch, effects = record.scored, record.effects
        if self.pass_rates is not None and batch.texts is not None and len(batch):
            self.pass_rates.count_batch(batch, batch.texts, self.steps_committed)
        if self.answers is not None:  # verdicts count as they were sent: repairs are no evidence
            self.answers.count(record.batch, self.steps_committed, record.first_serial)
        self.memories = self.memories_for(batch.dimension)
        for change in effects.index_changes:
            self.indexes.apply(change)
        items = self.writable(batch, effects.closes, record.first_serial)
        stepless = {name: group.stepless for name, group in self.open_groups.items() if name in effects.closes}
        self._leave_open(batch, effects, record.first_serial)
        self._count_steps(batch, effects, stepless)
        for side, writes in (("success", effects.success), ("failure", effects.failure)):
            self.memories[side].apply(
                writes, items.keys, items.prompts, items.completions, items.serials, items.outcomes
            )
        for name, raw in effects.raw.items():
            self.windows[name] = slide(self.windows[name], raw, window_size(self.config, name))
        self._count_answers(batch)
        self.serial = record.first_serial + len(batch)

    def _count_answers(self, batch: Batch) -> None:
        """Count the batch's answers; beyond N prompts, forget those of the prompt that was answered first."""
        if "outcome_ucb" not in self.config.components:
            return
        for key, answer in zip(batch.keys, batch.answers or [None] * len(batch), strict=True):
            if answer is not None:
                counts = self.answer_counts.setdefault(key, {})
                counts[answer] = counts.get(answer, 0) + 1
                if len(self.answer_counts) > self.config.max_prompts:
                    del self.answer_counts[next(iter(self.answer_counts))]

    def _count_steps(self, batch: Batch, effects: Effects, stepless: dict[bytes, bool]) -> None:
        """Count the batch's step; if it names none, count the batch, or under `snapshot` each group that it closes.

        Args:
            stepless: closed group -> whether it began without a step, for groups that earlier records left open.
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
        """Keep the items that wait for the rest of their group, with what they read before anything is written."""
        for name in effects.closes:
            self.open_groups.pop(name, None)
        for item in [] if effects.left_open is None else effects.left_open.tolist():
            name, prompt = batch.group_names[batch.group[item]], batch.prompts[batch.prompt_of[item]]
            group = self.open_groups.get(name)
            if group is None:
                key = batch.keys[item]
                group = self.open_groups[name] = OpenGroup(
                    key, prompt, self.freeze_read(key, prompt, batch.step), batch.step is None
                )
                if (repair := effects.repair) is not None and (why := repair.why[item]) is not None:
                    group.overruled, group.masked = Overruled(repair.answers[item] or "", why), repair.masks
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
        if self.pass_rates is not None:
            digest.update(self.pass_rates.digest())
            digest.update(b"" if self.pool is None else self.pool.digest().encode())
        if self.answers is not None:
            digest.update(self.answers.digest())
            digest.update(self.decisions.digest())
        counters = [sorted(self.steps), self.stepless, self.step, self.serial]
        digest.update(repr(counters).encode())
        return digest.hexdigest()

    def freeze(self) -> dict[str, np.ndarray]:
        """The whole state as named arrays, which do not change until `thaw`."""
        arrays = {f"window/{name}": window for name, window in self.windows.items()}
        for side, memory in self.memories.items():
            arrays |= {f"{side}/{name}": array for name, array in memory.freeze().items()}
        arrays |= self.indexes.freeze()
        for number, (open_name, group) in enumerate(self.open_groups.items()):
            arrays |= {f"open/{number}/{field}": array for field, array in group.freeze().items()}
            arrays[f"open/{number}/name"] = np.frombuffer(open_name, np.uint8)
        arrays["steps"] = np.array(sorted(self.steps), np.int64)
        newest = -1 if self.step is None else self.step
        arrays["counters"] = np.array([self.serial, self.stepless, newest, self.dimension or 0], np.int64)
        arrays["answers"] = np.frombuffer(self._packed_answers(), np.uint8)
        arrays["chain"] = np.frombuffer(self.chain, np.uint8)
        if self.pass_rates is not None:
            arrays |= {f"pass_rates/{name}": array for name, array in self.pass_rates.freeze().items()}
            arrays["pool_since"] = np.array([self.pool_since], np.int64)
        if self.answers is not None:
            arrays |= {f"given/{name}": array for name, array in self.answers.freeze().items()}
            arrays |= {f"decisions/{name}": array for name, array in self.decisions.arrays().items()}
        if self.pool is not None:
            arrays |= {f"pool/{name}": array for name, array in self.pool.arrays().items()}
        return arrays

    def thaw(self) -> None:
        """Allow the arrays that `freeze` returned to change: nobody reads them any more."""
        for memory in self.memories.values():
            memory.thaw()

    def restore(self, branch: int, position: int, arrays: dict[str, np.ndarray]) -> None:
        """Become the state that `freeze` saw after record (`branch`, `position`)."""
        self.serial, self.stepless, newest, dimension = arrays["counters"].tolist()
        self.branch, self.position, self.chain = branch, position, arrays["chain"].tobytes()
        self.steps = set(arrays["steps"].tolist())
        self.step = None if newest < 0 else newest
        self.answer_counts = msgpack.unpackb(arrays["answers"].tobytes() or b"\x80", strict_map_key=False)
        self.windows = {name: arrays[f"window/{name}"] for name in self.config.components}
        self.memories = self._empty(dimension) if dimension else {}
        for side, memory in self.memories.items():
            memory.restore(_under(f"{side}/", arrays))
        self.indexes.restore(arrays)
        if self.pass_rates is not None:
            self.pass_rates.restore(_under("pass_rates/", arrays))
            self.pool_since = int(arrays["pool_since"][0])
            pool = _under("pool/", arrays)
            self.pool = Pool(**pool) if pool else None
        if self.answers is not None:
            self.answers.restore(_under("given/", arrays))
            self.decisions = Decisions.of(**_under("decisions/", arrays))
        self.open_groups = {}
        while frozen := _under(f"open/{len(self.open_groups)}/", arrays):
            self.open_groups[frozen["name"].tobytes()] = OpenGroup.restore(frozen)

    def _packed_answers(self) -> bytes:
        """The counts of answers as bytes; no bytes if there are none."""
        return bytes(msgpack.packb(self.answer_counts)) if self.answer_counts else b""

    def _empty(self, dimension: int) -> dict[str, Memory]:
        return {side: self._empty_memory(dimension) for side in SIDES}

    def _empty_memory(self, dimension: int) -> Memory:
        config, indexed = self.config, "value" in self.config.components
        sizes = config.max_prompts, config.max_completions
        if config.memory.curates:
            return CuratedMemory(
                *(dimension, *sizes, config.storage, config.memory), indexed=indexed, graph_sizes=self._graph_sizes
            )
        return Memory(dimension, *sizes, config.storage, indexed=indexed, graph_sizes=self._graph_sizes)


def _under(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
