"""Every config against every class of junk, and the statistics for the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from memr_client.schemas import Component, ComponentGuards, ComponentName, PresetName, RunConfig
from memr_service.run.presets import FLOORED, resolve
from support.real_data import Question

from benchmarks.hackbench import measures
from benchmarks.hackbench.junk import CLASSES, SIDES, SLY, UNHELD
from benchmarks.hackbench.trial import Bench, Played

PRESETS = (
    "attempts",
    "guarded",
    "memory-r+",
    "memory-r",
    "official-memory-r+",
    "official-memory-r",
    "random",
    "shuffled",
)
COMPONENTS: tuple[str, ...] = get_args(ComponentName)
TOGETHER = {"preset": "memory-r+", "components": dict.fromkeys(COMPONENTS, 1.0)}
"""All components in one run. Each is scaled separately, so one run shows all of them."""
MEMORIES = ("filled", "nearly empty")
DOSES = (0, 1, 2, 5, 10, 20, 50, 100)
"""Numbers of consecutive junk completions that enter a window of 100 that was full of real ones."""
PROMISED = 5
"""Doses after which the spread has a floor."""
EXEMPTIONS = ("topic_for", "answer_chars")
"""Options of guards that let completions through."""


@dataclass(frozen=True)
class Cell:
    """One class of junk under one config and memory."""

    above: float
    """Share that gets more than the median real attempt of its group."""
    alike: float
    """The same, compared with attempts of the junk's own outcome."""
    total: float
    """The same for the trainer's total, outcome + reward."""
    mean: float
    """Its mean reward."""


@dataclass
class Result:
    """Statistics of one config."""

    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    """(memory, class) -> its statistics."""
    real: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """(memory, "right" or "wrong") -> mean reward of the real attempts in the same groups."""
    aucs: dict[str, dict[str, float]] = field(default_factory=dict)
    """Component -> AUC of its raw values, overall and by the number of right completions in a group."""
    spread: float = float("nan")
    """Standard deviation of real attempts' rewards, with a window of real attempts."""
    kept: dict[str, dict[int, float]] = field(default_factory=dict)
    """Class -> dose -> share of that spread that is left."""
    speaks: float = float("nan")
    """Share of groups of real attempts whose rewards differ."""
    speaks_of_wrong: float = float("nan")
    """The same for groups in which all attempts are wrong."""
    right_first: float = float("nan")
    """Share of mixed groups in which outcome + reward puts every right attempt above every wrong one."""
    spreads: tuple[float, float] = (float("nan"), float("nan"))
    """Largest spread of rewards: in mixed groups as a share of the outcomes' spread, and with equal outcomes."""
    rejected: float = float("nan")
    """Share of real attempts that a guard or gate rejected."""

    def worst(self, classes: Sequence[str]) -> float:
        """The largest share above the median, over both memories."""
        return max(cell.above for (_, name), cell in self.cells.items() if name in classes)

    def kept_after(self, dose: int) -> float:
        """The smallest share of the spread that a class leaves."""
        return min(shares[dose] for shares in self.kept.values())

    def kept_at_worst(self) -> float:
        """The smallest share of the spread that any class leaves at any dose."""
        return min(share for shares in self.kept.values() for share in shares.values())

    def flattened_by(self) -> int | None:
        """The smallest dose of any class that flattens."""
        doses = [measures.flattened_by(shares) for shares in self.kept.values()]
        return min((dose for dose in doses if dose is not None), default=None)


def of_presets(bench: Bench, questions: Sequence[Question], presets: Sequence[str]) -> Iterator[tuple[str, Result]]:
    """Each preset, without explore's warm-up."""
    for preset in presets:
        yield preset, _result(bench, questions, {"preset": preset})["rewards"]


def of_classes(bench: Bench, preset: str, classes: Sequence[str]) -> Result:
    """A preset against some classes of junk, without the other statistics."""
    result = Result()
    for memory in MEMORIES:
        base = bench.begin({"preset": preset}, filled=memory == MEMORIES[0])
        for junk in classes:
            played = bench.play(base, junk, fresh=memory != MEMORIES[0])
            result.cells[memory, junk] = _cell(played, played.rewards)
    return result


def of_components(bench: Bench, questions: Sequence[Question]) -> dict[str, Result]:
    """Each component alone, without guards."""
    found = _result(bench, questions, TOGETHER)
    return {name: found[name] for name in COMPONENTS}


def without_each_guard(bench: Bench, preset: PresetName) -> Iterator[tuple[str, dict[str, float]]]:
    """Guard of a preset -> for each side (`SIDES`), the largest share of junk above the median without that guard.

    The first is "none": all guards are on.
    """
    config = resolve(RunConfig(preset=preset), preset, FLOORED)
    options = config.components["exploit"]
    assert isinstance(options, Component)
    defaults = {name: one.get_default() for name, one in ComponentGuards.model_fields.items() if name not in EXEMPTIONS}
    used = [guard for guard, default in defaults.items() if getattr(options.guards, guard) != default]
    for guard in ("none", *used):
        off = {} if guard == "none" else {guard: defaults[guard]}
        less = options.model_copy(update={"guards": options.guards.model_copy(update=off)})
        fields = {"preset": preset, "components": dict.fromkeys(config.components, less.model_dump())}
        base = bench.begin(fields, filled=True)
        above = {name: measures.above_median(bench.play(base, name, fresh=False).rewards) for name in (*CLASSES, *SLY)}
        yield guard, {side: max(above[one] for one in names if one not in UNHELD) for side, names in SIDES.items()}


def _result(bench: Bench, questions: Sequence[Question], config: dict[str, Any]) -> dict[str, Result]:
    """Statistics of the rewards, and of each component's scaled values as rewards."""
    results: dict[str, Result] = {}
    for memory in MEMORIES:
        base = bench.begin(config, filled=memory == MEMORIES[0])
        for junk in (*CLASSES, *SLY):
            played = bench.play(base, junk, fresh=memory != MEMORIES[0])
            for name, rewards in _columns(played).items():
                result = results.setdefault(name, Result())
                result.cells[memory, junk] = _cell(played, rewards)
                right = played.outcomes[:, :-1] > 0.5
                for side, mask in (("right", right), ("wrong", ~right)):
                    result.real.setdefault((memory, side), []).append(float(rewards[:, :-1][mask].mean()))
        if memory == MEMORIES[0]:
            _flood(bench, base, results)
    alone = bench.alone(config, questions)
    for name, rewards in _columns(alone).items():
        own = alone.raw if name == "rewards" else {name: alone.raw[name]}
        results[name].aucs = {one: measures.auc_by_rights(raw, alone.outcomes) for one, raw in own.items()}
        wrong = ~(alone.outcomes > 0.5).any(axis=1)
        results[name].speaks = measures.told_apart(rewards)
        results[name].speaks_of_wrong = measures.told_apart(rewards[wrong])
        results[name].right_first = measures.right_first(rewards, alone.outcomes)
        results[name].spreads = measures.spread_shares(rewards, alone.outcomes)
        results[name].rejected = float(alone.rejected.mean())
    return results


def _flood(bench: Bench, base: str, results: dict[str, Result]) -> None:
    """Share of real attempts' spread that is left with junk in the window."""
    for junk in CLASSES:
        found = bench.flood(base, junk, DOSES)
        for name, clean in _columns(found[0]).items():
            before = measures.spread(found[0], clean)
            results[name].spread = before[0]
            results[name].kept[junk] = {
                dose: measures.kept(before, measures.spread(played, _columns(played)[name]))
                for dose, played in found.items()
            }


def _cell(played: Played, rewards: np.ndarray) -> Cell:
    return Cell(
        above=measures.above_median(rewards),
        alike=measures.above_alike(rewards, played.outcomes),
        total=measures.above_median(played.outcomes + rewards),
        mean=float(rewards[:, -1].mean()),
    )


def _columns(played: Played) -> dict[str, np.ndarray]:
    return {"rewards": played.rewards, **played.scaled}
