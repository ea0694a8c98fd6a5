"""Compares the rewards of a replay with the recorded ones, and summarises both."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from memr_client.schemas import Difference, Quantity, ReplayResult, RunConfig, Scored, SettingResult

from memr_service.insight.auc import auc_by_group, correlation
from memr_service.insight.replay.difference import first_difference
from memr_service.insight.replay.replay import Replayed
from memr_service.rewards.groups import center
from memr_service.run.presets import differences
from memr_service.state.record import Batch, Effects


class JournalItems:
    """What does not depend on the config a journal is scored under: which items are right, and their groups."""

    def __init__(self, config: RunConfig) -> None:
        self._threshold = config.success_threshold
        self._across_records = config.barrier == "snapshot"
        self._numbers: dict[Any, int] = {}
        self._right: list[np.ndarray] = []
        self._group: list[np.ndarray] = []
        self.first_position = 0
        self.position = 0

    def add(self, batch: Batch, position: int) -> None:
        """Add a record's items.

        A group is in one record, except under the barrier `snapshot`: there it has one id and one step.
        """
        self.first_position, self.position = self.first_position or position, position
        visit = batch.step if self._across_records else position
        names = batch.group_names if self._across_records else range(len(batch))
        numbers = np.array([self._numbers.setdefault((visit, one), len(self._numbers)) for one in names], np.int64)
        self._right.append(batch.outcomes > self._threshold)
        self._group.append(numbers[batch.group])

    @property
    def right(self) -> np.ndarray:
        """Which items are right (n,)."""
        return np.concatenate(self._right) if self._right else np.empty(0, bool)

    @property
    def group(self) -> np.ndarray:
        """Number of each item's group (n,), without gaps."""
        numbers = np.concatenate(self._group) if self._group else np.empty(0, np.int64)
        return np.unique(numbers, return_inverse=True)[1]


class ScoredColumns:
    """The rewards and values of all items of a journal, as scored under one config."""

    def __init__(self) -> None:
        self._columns: dict[str, list[np.ndarray]] = {"reward": []}
        self._rejected: Counter[str] = Counter()
        self._items_rejected = 0
        self.count = 0

    def add(self, effects: Effects) -> None:
        """Add a record's effects."""
        self.count += len(effects.rewards)
        self._columns["reward"].append(effects.rewards)
        for part, columns in (("raw", effects.raw), ("scaled", effects.scaled)):
            for name, values in columns.items():
                self._columns.setdefault(f"{part} {name}", []).append(values)
        self._rejected.update(reason for reasons in effects.rejected for reason in reasons)
        self._items_rejected += sum(not all(map(_of_write_gate, reasons)) for reasons in effects.rejected)

    @property
    def rewards(self) -> np.ndarray:
        """The reward of each item (n,)."""
        return np.concatenate(self._columns["reward"]) if self.count else np.empty(0)

    def scored(self, items: JournalItems) -> Scored:
        """The summary. A scaled value without a raw value does not count."""
        right, group, found = items.right, items.group, {}
        columns = {name: np.concatenate(parts) for name, parts in self._columns.items() if parts}
        for name, values in columns.items():
            raw = columns.get(name.replace("scaled ", "raw "), values)
            found[name] = _quantity(np.where(np.isnan(raw), np.nan, values), right, group)
        return Scored(
            reward=found.get("reward") or _quantity(np.empty(0), right, group),
            raw={name.removeprefix("raw "): one for name, one in found.items() if name.startswith("raw ")},
            scaled={name.removeprefix("scaled "): one for name, one in found.items() if name.startswith("scaled ")},
            rejected_share=self._items_rejected / max(1, self.count),
            rejected=dict(self._rejected),
        )


class Comparison:
    """The results of a replay's settings, one after the other, next to what the journal recorded."""

    def __init__(self, run_id: str, recorded: RunConfig) -> None:
        self._run_id = run_id
        self._config = recorded
        self._items = JournalItems(recorded)
        self._recorded = ScoredColumns()
        self._results: list[SettingResult] = []

    def take(self, config: RunConfig, records: Iterable[Replayed]) -> Iterable[int]:
        """Take in the replay of one setting; yields the number of completions done after each record."""
        started, columns, first = time.process_time(), ScoredColumns(), not self._results
        own, chain = config == self._config, bytes(32)
        difference: Difference | None = None
        for one in records:
            columns.add(one.effects)
            if first:
                self._items.add(one.record.batch, one.record.position)
                self._recorded.add(one.record.effects)
            if own and difference is None:
                difference = first_difference(one)
            if difference is None:
                chain = one.record.chain
            yield columns.count
        self._results.append(
            SettingResult(
                changed={name: config.model_dump(mode="json")[name] for name in differences(self._config, config)},
                scored=columns.scored(self._items),
                correlation=correlation(columns.rewards, self._recorded.rewards),
                correlation_in_groups=self._in_groups(columns),
                difference=difference,
                chain=chain.hex() if own else None,
                seconds=time.process_time() - started,
            )
        )

    def result(self) -> ReplayResult:
        """The results of all settings."""
        items = self._items
        right, group = items.right, items.group
        return ReplayResult(
            run_id=self._run_id,
            first_position=items.first_position,
            position=items.position,
            completions=len(right),
            groups=len(np.unique(group)),
            mixed_groups=len(auc_by_group(right.astype(float), right, group)),
            recorded=self._recorded.scored(items),
            settings=self._results,
        )

    def _in_groups(self, columns: ScoredColumns) -> float | None:
        group = self._items.group
        return correlation(center(columns.rewards, group), center(self._recorded.rewards, group))


def _of_write_gate(reason: str) -> bool:
    """Whether the reason is a write gate's, which does not affect the item's reward."""
    return reason.startswith("memory:")


def _quantity(values: np.ndarray, right: np.ndarray, group: np.ndarray) -> Quantity:
    given = values[~np.isnan(values)]
    each = auc_by_group(values, right, group) if len(given) else given
    return Quantity(
        defined=len(given),
        mean=float(given.mean()) if len(given) else None,
        std=float(given.std()) if len(given) else None,
        auc=float(each.mean()) if len(each) else None,
    )
