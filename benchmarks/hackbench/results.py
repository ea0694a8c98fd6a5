"""Every config against every class of junk, and the statistics for the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from memr_client.schemas import Component, ComponentName, RunConfig
from memr_service.run.presets import FLOORED, resolve
from support.real_data import Question

from benchmarks.hackbench import measures
from benchmarks.hackbench.junk import CLASSES, SLY, UNHELD
from benchmarks.hackbench.trial import Bench, Played

PRESETS = ("memory-r+", "memory-r", "official-memory-r+", "official-memory-r", "guarded", "random", "shuffled")
COMPONENTS: tuple[str, ...] = get_args(ComponentName)
TOGETHER = {"preset": "memory-r+", "components": dict.fromkeys(COMPONENTS, 1.0)}
"""All components in one run. Each is scaled separately, so one run shows all of them."""
MEMORIES = ("filled", "nearly empty")
DOSES = (0, 1, 2, 5, 10, 20, 50, 100)
"""Numbers of consecutive junk completions that enter a window of 100 that was full of real ones."""
PROMISED = 5
"""Doses after which the spread has a floor."""


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


def of_components(bench: Bench, questions: Sequence[Question]) -> dict[str, Result]:
    """Each component alone, without guards."""
    found = _result(bench, questions, TOGETHER)
    return {name: found[name] for name in COMPONENTS}


def without_each_guard(bench: Bench) -> Iterator[tuple[str, float, float]]:
    """Guard of `guarded` -> the largest shares of junk above the median without it, for `CLASSES` and for `SLY`."""
    config = resolve(RunConfig(preset="guarded"), "guarded", FLOORED)
    options = config.components["exploit"]
    assert isinstance(options, Component)
    for guard in ("none", *options.guards.model_dump()):
        if guard == "drop_truncated":
            continue  # nothing here is sent as truncated
        less = options.model_copy(update={"guards": options.guards.model_copy(update={guard: None})})
        fields = {"preset": "guarded", "components": dict.fromkeys(config.components, less.model_dump())}
        base = bench.begin(fields, filled=True)
        above = {name: measures.above_median(bench.play(base, name, fresh=False).rewards) for name in (*CLASSES, *SLY)}
        yield guard, max(above[name] for name in CLASSES), max(above[name] for name in SLY if name not in UNHELD)


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
        results[name].speaks = float(np.mean(np.ptp(rewards, axis=1) > measures.TIE))
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
