"""The law of memr in plain Python: slow, brute force, float64, and importing nothing of the project.

Read it from top to bottom to learn what a reward is. A comment that begins with L and a number quotes the law; what
stands below it is the one loop or formula that it means. The tests compare the service with this.

Symbols: q a prompt's embedding and a a completion's, unit rows (d,); M_s and M_f the memories of successes and of
failures; B what a read returns, a list of rows; N, L, k and w as in the paper.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float64]

DEFAULTS: dict[str, Any] = {
    "k": 1,
    "max_prompts": 100_000,
    "max_completions": 100,
    "window": 100,
    "scaling": "item",
    "center": "none",
    "success_threshold": 0.5,
    "failure_threshold": 0.5,
    "components": {"exploit": 1.0, "explore": 1.0},
    "explore_warmup_prompts": 0,
    "explore_warmup_steps": 50,
    "min_similarity": None,
    "order": "hold_one_out",
    "storage": "float32",
}


# L2 "Unit rows. ... zero, NaN or infinite rows: 422. With storage: float16 embeddings are rounded to float16 on
#     receipt, before anything reads them."


def received(row: Sequence[float] | Row, storage: str) -> Row:
    """A sent embedding as everything after sees it: of unit length, in the precision that is stored."""
    row = np.asarray(row, dtype=np.float64)
    length = np.linalg.norm(row)
    if not np.isfinite(length) or length == 0:
        raise ValueError("an embedding must be finite and not zero")
    rounded: Row = (row / length).astype(storage)
    return rounded.astype(np.float64)


def cosine(x: Row, y: Row) -> float:
    """The cosine of two rows: the same for equal rows to the last bit, since their products are summed alike."""
    return float(np.sum(x * y) / np.sqrt(np.sum(x * x) * np.sum(y * y)))


# L3 "The embedding and the age of a prompt are those of its first write."


@dataclass(eq=False)
class Prompt:
    """One stored prompt with its completions, the oldest first."""

    identity: Hashable
    q: Row
    completions: list[Row] = field(default_factory=list)


class Memory:
    """M_s or M_f: at most N prompts, the one stored first in front, each with at most L completions."""

    def __init__(self, max_prompts: int, max_completions: int) -> None:
        self.max_prompts = max_prompts
        self.max_completions = max_completions
        self.prompts: list[Prompt] = []

    def write(self, identity: Hashable, q: Row, a: Row) -> None:
        """Store a completion under its prompt."""
        for prompt in self.prompts:
            # L3 "Known prompt: append, and beyond L its oldest completion leaves."
            if prompt.identity == identity:
                prompt.completions.append(a)
                if len(prompt.completions) > self.max_completions:
                    prompt.completions.pop(0)
                return
        # L3 "New prompt and N stored: the prompt stored first leaves with all its completions."
        if len(self.prompts) == self.max_prompts:
            self.prompts.pop(0)
        self.prompts.append(Prompt(identity, q, [a]))

    def holds(self, a: Row) -> bool:
        """Whether this very completion (not an equal one) is stored."""
        return any(stored is a for prompt in self.prompts for stored in prompt.completions)

    def read(self, identity: Hashable, q: Row, k: int, least: float | None, held_out: Row | None = None) -> list[Row]:
        """B(M, q), with one completion held out or none."""
        # L9 "Only the entry is skipped: ... a prompt with no other entry is passed over."
        readable = [p for p in self.prompts if any(a is not held_out for a in p.completions)]
        # L4 "the prompt with the same identity first, the rest by cosine to q (ties: stored earlier first)"
        same = [p for p in readable if p.identity == identity]
        rest = [p for p in readable if p.identity != identity]
        rest.sort(key=lambda p: -cosine(p.q, q))  # Python's sort is stable: ties stay in the order of storing
        # L4 "min_similarity optional (default off)": the same prompt is read whatever its embedding.
        if least is not None:
            rest = [p for p in rest if cosine(p.q, q) >= least]
        # L4 "The k nearest stored prompts: ... B = all their completions."
        return [a for p in (same + rest)[:k] for a in p.completions if a is not held_out]

    def size(self) -> tuple[int, int]:
        """(prompts, completions)."""
        return len(self.prompts), sum(len(prompt.completions) for prompt in self.prompts)


# L5 "exploit = -||a - mean(B(M_s, q))||_2 ; explore = 1 - max_{b in B(M_f, q)} cos(a, b). Empty B: null."


def exploit(a: Row, successes: list[Row]) -> float | None:
    """How close a is to the centre of what worked."""
    return -float(np.linalg.norm(a - np.mean(successes, axis=0))) if successes else None


def explore(a: Row, failures: list[Row]) -> float | None:
    """How far a is from all that failed."""
    return 1.0 - max(cosine(a, b) for b in failures) if failures else None


# Beyond the paper: "value", the outcomes of the 32 nearest stored completions of the run, each weighted with
#     exp(cos / 0.05).


def value(a: Row, known: list[tuple[Row, float]]) -> float | None:
    """What completions like a have earned."""
    near = sorted(((cosine(a, b), outcome) for b, outcome in known), key=lambda one: -one[0])[:32]
    weights = [np.exp(cos / 0.05) for cos, _ in near]
    earned = sum(weight * outcome for weight, (_, outcome) in zip(weights, near, strict=True))
    return float(earned / sum(weights)) if near else None


# L6 "scaled = (x - min) / (max - min + 1e-8) over the window that includes x; where max - min < 1e-6 scaled = 0.
#     A null is not appended and scales to 0."


def scale(x: float | None, window: list[float]) -> float:
    """A raw value by the bounds of the window it is in."""
    if x is None or max(window) - min(window) < 1e-6:
        return 0.0
    return (x - min(window)) / (max(window) - min(window) + 1e-8)


def scale_by_item(raw: list[float | None], window: list[float], w: int) -> list[float]:
    """Scaled values; the window moves along."""
    scaled = []
    # L6 "Items in order: append the raw value, keep the last w"
    for x in raw:
        if x is not None:
            window.append(x)
            del window[:-w]
        scaled.append(scale(x, window))
    return scaled


def scale_by_request(raw: list[float | None], window: list[float], w: int) -> list[float]:
    """Scaled values; the window moves first."""
    # L6 "request: all values of the request are appended first, then all are scaled by the same bounds (order-free)"
    new = [x for x in raw if x is not None]
    window.extend(new)
    bounds = window[-max(w, len(new)) :]  # "the window that includes x", also where a request is longer than w
    del window[:-w]
    return [scale(x, bounds) for x in raw]


def center(scaled: list[float], groups: Sequence[Hashable]) -> list[float]:
    """Scaled values around their group's mean."""
    # L6 "center: group then subtracts each group's mean"
    members = {group: [x for x, of in zip(scaled, groups, strict=True) if of == group] for group in groups}
    return [x - sum(members[group]) / len(members[group]) for x, group in zip(scaled, groups, strict=True)]


@dataclass(eq=False)
class Item:
    """One completion of a request, with its prompt and its outcome."""

    identity: Hashable
    q: Row
    a: Row
    outcome: float


@dataclass
class Reading:
    """What one item is compared with."""

    successes: list[Row]
    failures: list[Row]
    explore_on: bool
    known: list[tuple[Row, float]]
    """All that the run has stored, with its outcomes, where `value` asks for it."""


@dataclass
class Answer:
    """One value per item in each list."""

    rewards: list[float]
    raw: dict[str, list[float | None]]
    scaled: dict[str, list[float]]
    support: dict[str, list[int]]
    sizes: dict[str, tuple[int, int]]
    """(prompts, completions) of each memory after the request."""


class Oracle:
    """A run: two memories, a window for each component, and the steps that were committed."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = {**DEFAULTS, **config}
        self.success = Memory(self.config["max_prompts"], self.config["max_completions"])
        self.failure = Memory(self.config["max_prompts"], self.config["max_completions"])
        self.windows: dict[str, list[float]] = {name: [] for name in self.config["components"]}
        self.written: list[tuple[Row, float]] = []
        """Completions and their outcomes; some may have left."""
        self.steps: set[int] = set()
        self.stepless = 0

    def reward(
        self,
        prompts: Sequence[Row],
        completions: Sequence[Row],
        identities: Sequence[Hashable],
        outcomes: Sequence[float],
        step: int | None = None,
        mode: str = "train",
        groups: Sequence[Hashable] | None = None,
    ) -> Answer:
        """Score a request and, in training, remember it. `groups` are the prompts' identities unless given."""
        storage = self.config["storage"]
        items = [
            Item(identity, received(q, storage), received(a, storage), outcome)
            for identity, q, a, outcome in zip(identities, prompts, completions, outcomes, strict=True)
        ]
        groups = identities if groups is None else groups
        # L10 "reads the memory as it is, moves a discarded copy of the windows, and leaves everything untouched"
        if mode == "eval":
            readings = [self._read(item) for item in items]
            return deepcopy(self)._answer(items, readings, groups)
        readings = self._readings(items)
        # L7 "distinct step values plus logical requests without one"; L12 "n = 0 makes no record"
        if items and step is None:
            self.stepless += 1
        elif items and step is not None:
            self.steps.add(step)
        return self._answer(items, readings, groups)

    def _readings(self, items: list[Item]) -> list[Reading]:
        return self._hold_one_out(items) if self.config["order"] == "hold_one_out" else self._read_first(items)

    def _hold_one_out(self, items: list[Item]) -> list[Reading]:
        on = self._explore_is_on()
        # L9 "all writes of the logical request are applied first, in item order, evictions included"
        for item in items:
            self._write(item)
        # L9 "Then each item reads each memory with one entry held out"
        readings = []
        for i, item in enumerate(items):
            held = [self._held_out(memory, items, i) for memory in (self.success, self.failure)]
            successes = self._read_from(self.success, item, held[0])
            failures = self._read_from(self.failure, item, held[1])
            readings.append(Reading(successes, failures, on, self._known(held)))
        return readings

    def _held_out(self, memory: Memory, items: list[Item], i: int) -> Row | None:
        # L9 "its own if it is stored there, else the entry of the next item (cyclic item order) of the same prompt in
        #     this request that is stored there, else none"
        for item in items[i:] + items[:i]:
            if item.identity == items[i].identity and memory.holds(item.a):
                return item.a
        return None

    def _read_first(self, items: list[Item]) -> list[Reading]:
        # L9 "the whole request is read against the memory as it was at its start, then written"
        readings = [self._read(item) for item in items]
        for item in items:
            self._write(item)
        return readings

    def _write(self, item: Item) -> None:
        # L3 "outcome > success_threshold -> success memory; outcome <= failure_threshold -> failure memory;
        #     between: neither"
        if item.outcome > self.config["success_threshold"]:
            self.success.write(item.identity, item.q, item.a)
        elif item.outcome <= self.config["failure_threshold"]:
            self.failure.write(item.identity, item.q, item.a)
        self.written.append((item.a, item.outcome))

    def _known(self, held_out: Sequence[Row | None] = ()) -> list[tuple[Row, float]]:
        if "value" not in self.config["components"]:
            return []
        memories = (self.success, self.failure)
        self.written = [one for memory in memories for one in self.written if memory.holds(one[0])]
        return [one for one in self.written if not any(one[0] is held for held in held_out)]

    def _read(self, item: Item) -> Reading:
        successes, failures = self._read_from(self.success, item), self._read_from(self.failure, item)
        return Reading(successes, failures, self._explore_is_on(), self._known())

    def _read_from(self, memory: Memory, item: Item, held_out: Row | None = None) -> list[Row]:
        # L4 "The two memories are read separately with the same k."
        return memory.read(item.identity, item.q, self.config["k"], self.config["min_similarity"], held_out)

    def _explore_is_on(self) -> bool:
        # L7 "explore is null ... while the failure memory holds fewer than explore_warmup_prompts prompts or fewer
        #     than explore_warmup_steps steps have been committed"
        if len(self.failure.prompts) < self.config["explore_warmup_prompts"]:
            return False
        steps: int = self.config["explore_warmup_steps"]
        return len(self.steps) + self.stepless >= steps

    def _answer(self, items: list[Item], readings: list[Reading], groups: Sequence[Hashable]) -> Answer:
        raw: dict[str, list[float | None]] = {"exploit": [], "explore": []}
        for item, reading in zip(items, readings, strict=True):
            raw["exploit"].append(exploit(item.a, reading.successes))
            raw["explore"].append(explore(item.a, reading.failures) if reading.explore_on else None)
        raw["value"] = [value(item.a, reading.known) for item, reading in zip(items, readings, strict=True)]
        # L9 "Windows move in item order in all."
        scaled = {name: self._scaled(name, raw[name], readings, groups) for name in self.windows}
        # L8 "sum over the run's components of weight_c * scaled_c"
        weights = self.config["components"]
        rewards = [sum(weights[name] * scaled[name][i] for name in weights) for i in range(len(items))]
        return Answer(
            rewards,
            {name: raw[name] for name in weights},
            scaled,
            {"success": [len(r.successes) for r in readings], "failure": [len(r.failures) for r in readings]},
            {"success": self.success.size(), "failure": self.failure.size()},
        )

    def _scaled(
        self, name: str, raw: list[float | None], readings: list[Reading], groups: Sequence[Hashable]
    ) -> list[float]:
        window, w = self.windows[name], self.config["window"]
        scaled = scale_by_item(raw, window, w) if self.config["scaling"] == "item" else scale_by_request(raw, window, w)
        return center(scaled, groups) if self.config["center"] == "group" else scaled
