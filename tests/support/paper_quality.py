"""Memory quality in plain Python: entries with a count and an age, gates, and evictions by value (see `paper`).

Comments that begin with Q say what memory quality adds to the law; what stands below is the loop or formula it means.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from support import plain_components as plain
from support.paper import Answer, Item, Oracle, Row, cosine, explore, received, value

GATES = {"topic_floor": None, "drop_truncated": False, "agreement": False}
QUALITY = {"merge_similarity": None, "decay_steps": None, "max_age": None, "eviction": "fifo", "gates": {}}


# Q1 "An entry stands for `count` completions and was `seen` last at a step; its age is the steps since."


@dataclass(eq=False)
class Entry:
    """A completion, and those that repeated it."""

    a: Row
    outcome: float
    count: int
    seen: int
    members: list[Item] = field(default_factory=list)
    """The items of the present request that it stands for."""


@dataclass(eq=False)
class Prompt:
    """A stored prompt, its entries, the oldest first, and the step at which it was written to last."""

    identity: Hashable
    q: Row
    written: int
    entries: list[Entry] = field(default_factory=list)


class Memory:
    """M_s or M_f."""

    def __init__(self, config: Mapping[str, Any], quality: Mapping[str, Any]) -> None:
        self.max_prompts: int = config["max_prompts"]
        self.max_completions: int = config["max_completions"]
        self.quality = quality
        self.prompts: list[Prompt] = []

    def fade(self, seen: int, now: int) -> float:
        """What age leaves of a completion."""
        # Q2 "weight exp(-age / tau), never less than 1e-12"
        tau = self.quality["decay_steps"]
        return 1.0 if tau is None else max(1e-12, math.exp(-max(0, now - seen) / tau))

    def begin(self, now: int) -> None:
        """A request of step `now` begins."""
        # Q3 "At the start of a request entries older than max_age leave; a prompt without entries leaves with them."
        for prompt in self.prompts:
            for entry in prompt.entries:
                entry.members = []
            if self.quality["max_age"] is not None:
                prompt.entries = [one for one in prompt.entries if now - one.seen <= self.quality["max_age"]]
        self.prompts = [prompt for prompt in self.prompts if prompt.entries]

    def write(self, item: Item, now: int) -> None:
        """Store a completion under its prompt, or count it."""
        known = [prompt for prompt in self.prompts if prompt.identity == item.identity]
        if not known:
            if len(self.prompts) == self.max_prompts:
                self.prompts.remove(self._least_prompt(now))
            self.prompts.append(Prompt(item.identity, item.q, now))
        prompt = known[0] if known else self.prompts[-1]
        prompt.written = now
        # Q4 "A completion whose cosine to an entry of its prompt is at least merge_similarity raises the count of the
        #     nearest one, which is as young as it from then on, and is not stored."
        least = self.quality["merge_similarity"]
        near = [cosine(entry.a, item.a) for entry in prompt.entries]
        if least is not None and near and max(near) >= least:
            entry = prompt.entries[near.index(max(near))]
            entry.count, entry.seen = entry.count + 1, now
            entry.members.append(item)
            return
        prompt.entries.append(Entry(item.a, item.outcome, 1, now, [item]))
        if len(prompt.entries) > self.max_completions:
            prompt.entries.remove(self._least_entry(prompt, now))

    def _least_entry(self, prompt: Prompt, now: int) -> Entry:
        # Q5 "the entry of least count * exp(-age / tau) leaves, among equals the one seen longest ago, then the one
        #     stored first; never the one that has just come"
        if self.quality["eviction"] == "fifo":
            return prompt.entries[0]
        return min(prompt.entries[:-1], key=lambda one: (one.count * self.fade(one.seen, now), one.seen))

    def _least_prompt(self, now: int) -> Prompt:
        # Q6 "A prompt counts what its entries count, and is as old as its last write."
        if self.quality["eviction"] == "fifo":
            return self.prompts[0]

        def value(prompt: Prompt) -> tuple[float, int]:
            units = sum(entry.count for entry in prompt.entries)
            return units * self.fade(prompt.written, now), prompt.written

        return min(self.prompts, key=value)

    def read(self, identity: Hashable, q: Row, k: int, least: float | None, held_out: Entry | None) -> list[Entry]:
        """The entries under the k nearest prompts, the one that is held out among them."""
        # Q7 "One completion is held out, not its entry: a prompt is passed over when nothing is left of it."
        readable = [p for p in self.prompts if sum(one.count - (one is held_out) for one in p.entries) > 0]
        same = [p for p in readable if p.identity == identity]
        rest = [p for p in readable if p.identity != identity]
        rest.sort(key=lambda p: -cosine(p.q, q))
        if least is not None:
            rest = [p for p in rest if cosine(p.q, q) >= least]
        return [entry for p in (same + rest)[:k] for entry in p.entries]

    def entry_of(self, item: Item) -> Entry | None:
        """The stored entry that stands for an item of this request."""
        return next((one for prompt in self.prompts for one in prompt.entries if item in one.members), None)

    def size(self) -> tuple[int, int]:
        """(prompts, entries)."""
        return len(self.prompts), sum(len(prompt.entries) for prompt in self.prompts)


@dataclass
class Seen:
    """What one item is compared with: the entries read, and the place of the one it holds one completion out of.

    `known` are all entries of the memory of which something is left, with the outcome that each was stored with.
    """

    entries: list[Entry]
    held: int
    known: list[tuple[Row, float]]

    @property
    def support(self) -> int:
        """How many completions that is."""
        return sum(entry.count for entry in self.entries) - (self.held >= 0)

    @property
    def visible(self) -> list[Row]:
        """The entries of which something is left."""
        return [one.a for place, one in enumerate(self.entries) if one.count > (place == self.held)]


class QualityOracle(Oracle):
    """A run with memory quality. With all of it off it says what `Oracle` says."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        given = dict(config)
        quality = {**QUALITY, **given.pop("memory", {})}
        components = given.get("components", {"exploit": 1.0, "explore": 1.0})
        given["components"] = {
            name: one["weight"] if isinstance(one, dict) else one for name, one in components.items()
        }
        super().__init__(given)
        options = components.get("exploit")
        self.centroids = options.get("centroids", 1) if isinstance(options, dict) else 1
        self.gates = {**GATES, **quality["gates"]}
        self.success = Memory(self.config, quality)  # type: ignore[assignment]
        self.failure = Memory(self.config, quality)  # type: ignore[assignment]
        self.newest = 0

    def reward(  # type: ignore[override]
        self,
        prompts: Sequence[Row],
        completions: Sequence[Row],
        identities: Sequence[Hashable],
        outcomes: Sequence[float],
        step: int | None = None,
        mode: str = "train",
        groups: Sequence[Hashable] | None = None,
        answers: Sequence[str | None] | None = None,
        truncated: Sequence[bool] | None = None,
    ) -> Answer:
        """Score a request and, in training, remember it."""
        if mode == "eval" or not identities:
            return deepcopy(self)._rewarded(prompts, completions, identities, outcomes, step, groups, [], False)
        groups = identities if groups is None else groups
        stored = self._admitted(prompts, completions, outcomes, groups, answers, truncated)
        return self._rewarded(prompts, completions, identities, outcomes, step, groups, stored, True)

    def _admitted(
        self,
        prompts: Sequence[Row],
        completions: Sequence[Row],
        outcomes: Sequence[float],
        groups: Sequence[Hashable],
        answers: Sequence[str | None] | None,
        truncated: Sequence[bool] | None,
    ) -> list[bool]:
        """Which items the gates let in."""
        storage, n = self.config["storage"], len(outcomes)
        answers = answers or [None] * n
        admitted = []
        for i, (q, a) in enumerate(zip(prompts, completions, strict=True)):
            success = outcomes[i] > self.config["success_threshold"]
            # Q8 "topic_floor: cos(q, a) below it. drop_truncated: no truncated success. agreement: no success whose
            #     answer nobody else in the group has given."
            topic = cosine(received(q, storage), received(a, storage))
            off_topic = self.gates["topic_floor"] is not None and topic < self.gates["topic_floor"]
            cut = self.gates["drop_truncated"] and success and truncated is not None and truncated[i]
            others = [answers[j] for j in range(n) if j != i and groups[j] == groups[i]]
            alone = self.gates["agreement"] and success and (answers[i] is None or answers[i] not in others)
            admitted.append(not (off_topic or cut or alone))
        return admitted

    def _rewarded(
        self,
        prompts: Sequence[Row],
        completions: Sequence[Row],
        identities: Sequence[Hashable],
        outcomes: Sequence[float],
        step: int | None,
        groups: Sequence[Hashable] | None,
        stored: Sequence[bool],
        write: bool,
    ) -> Answer:
        storage = self.config["storage"]
        items = [
            Item(identity, received(q, storage), received(a, storage), outcome)
            for identity, q, a, outcome in zip(identities, prompts, completions, outcomes, strict=True)
        ]
        # Q9 "A request happens at its step; without one at the newest step named, or the number of steps committed if
        #     that is more."
        step = step if items else None  # an empty request takes place at no step of its own
        now = step if step is not None else max(self.newest, len(self.steps) + self.stepless)
        on = self._explore_is_on()
        self.success.begin(now)  # type: ignore[attr-defined]
        self.failure.begin(now)  # type: ignore[attr-defined]
        hold = write and self.config["order"] == "hold_one_out"
        if hold:
            self._write_all(items, stored, now)
        won = [self._look(self.success, items, i, hold) for i in range(len(items))]
        lost = [self._look(self.failure, items, i, hold) for i in range(len(items))]
        if write and not hold:
            self._write_all(items, stored, now)
        if write and step is None:
            self.stepless += 1
        elif write and step is not None:
            self.steps.add(step)
            self.newest = step
        return self._answered(items, won, lost, on, now, identities if groups is None else groups)

    def _write_all(self, items: list[Item], stored: Sequence[bool], now: int) -> None:
        for item, admitted in zip(items, stored, strict=True):
            if admitted and item.outcome > self.config["success_threshold"]:
                self.success.write(item, now)  # type: ignore[call-arg,arg-type]
            elif admitted and item.outcome <= self.config["failure_threshold"]:
                self.failure.write(item, now)  # type: ignore[call-arg,arg-type]

    def _look(self, memory: Any, items: list[Item], i: int, hold: bool) -> Seen:
        item, held = items[i], None
        # Q10 "Each item holds out one completion: its own, merged or not, else that of the next item of its prompt that
        #      is stored."
        for other in items[i:] + items[:i] if hold else []:
            if held is None and other.identity == item.identity:
                held = memory.entry_of(other)
        entries = memory.read(item.identity, item.q, self.config["k"], self.config["min_similarity"], held)
        place = next((place for place, one in enumerate(entries) if one is held), -1)
        left = [one for prompt in memory.prompts for one in prompt.entries if one.count > (one is held)]
        # Copies: what is written later does not change them.
        return Seen([replace(entry) for entry in entries], place, [(one.a, one.outcome) for one in left])

    def _answered(
        self, items: list[Item], won: list[Seen], lost: list[Seen], on: bool, now: int, groups: Sequence[Hashable]
    ) -> Answer:
        raw: dict[str, list[float | None]] = {
            "exploit": [self._exploit(item.a, seen, now) for item, seen in zip(items, won, strict=True)],
            "explore": [explore(one.a, seen.visible) if on else None for one, seen in zip(items, lost, strict=True)],
            "value": [value(one.a, good.known + bad.known) for one, good, bad in zip(items, won, lost, strict=True)],
        }
        scaled = {name: self._scaled(name, raw[name], [], groups) for name in self.windows}
        weights = self.config["components"]
        return Answer(
            [sum(weights[name] * scaled[name][i] for name in weights) for i in range(len(items))],
            {name: raw[name] for name in weights},
            scaled,
            {"success": [seen.support for seen in won], "failure": [seen.support for seen in lost]},
            {"success": self.success.size(), "failure": self.failure.size()},
        )

    def _exploit(self, a: Row, seen: Seen, now: int) -> float | None:
        # Q11 "exploit = -min_j ||a - c_j|| with c_j the mean of a cluster, weighted by count and age; with 'all' the
        #      distance sqrt(2 - 2 cos) to the nearest entry"
        if self.centroids == "all":
            return -math.sqrt(2 * max(0.0, 1 - max(cosine(a, b) for b in seen.visible))) if seen.visible else None
        rows = [entry.a.tolist() for entry in seen.entries]
        counts = [entry.count for entry in seen.entries]
        fades = [self.success.fade(entry.seen, now) for entry in seen.entries]  # type: ignore[attr-defined]
        value = plain.exploit([a.tolist()], rows, counts, fades, [seen.held], self.centroids)[0]
        return None if math.isnan(value) else value
