"""How well the pass rates of the study's kept runs foresaw their groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from memr_client.schemas import Backtest, CalibrationBin, RunConfig
from memr_service.insight.backtest import GroupsSeen, calibration_error
from memr_service.run import archive

from benchmarks.planning_study.registration import Part, Pool
from benchmarks.planning_study.tables import dead_share
from benchmarks.planning_study.training import Training
from benchmarks.published import Row, Table, table


def foreseen(parts: Sequence[Part], title: str) -> Table:
    """One row for each pool: the backtests of its uniform trainings, all their groups together."""
    found = (of_pool(part, pool) for part in parts for pool in part.pools)
    cells = {
        "dead": "{dead:.0%}",
        "trainings": "{trainings}",
        "groups of prompts visited before": "{known:,}",
        "of them with equal outcomes": "{equal:.0%}",
        "AUC": "{auc:.2f}",
        "Brier score": "{brier:.3f}",
        "of the mean": "{brier_base:.3f}",
        "calibration error": "{error:.3f}",
    }
    return table(title, cells, [row for row in found if row is not None])


def of_pool(part: Part, pool: Pool) -> Row | None:
    """The figures of a pool; None if no run of it visited a question twice."""
    files = [Training("uniform", pool, seed, part.other(seed)).run_file for seed in part.seeds]
    tests = [test for test in (backtest(file) for file in files if file.exists()) if test.known]
    if not tests:
        return None
    known = np.array([one.known for one in tests])
    return {
        "dead": dead_share(pool),
        "trainings": len(tests),
        "known": int(known.sum()),
        "equal": sum(one.equal for one in tests) / int(known.sum()),
        **{
            name: float(np.average([getattr(one, name) for one in tests], weights=known))
            for name in ("auc", "brier", "brier_base")
        },
        "error": calibration_error([together(bins) for bins in zip(*(one.calibration for one in tests), strict=True)]),
    }


def backtest(file: Path) -> Backtest:
    """The backtest of an exported run."""
    with file.open("rb") as opened:
        header = archive.read_header(opened)
        seen = GroupsSeen(RunConfig.model_validate_json(header.config))
        for record, _ in archive.read_records(opened, archive.read_base(opened, header)):
            seen.add(record)
    return seen.result(file.stem)


def together(bins: Sequence[CalibrationBin]) -> CalibrationBin:
    """The same bin of several runs as one."""
    groups = sum(one.groups for one in bins)
    means = {
        name: sum(one.groups * (getattr(one, name) or 0) for one in bins) / groups if groups else None
        for name in ("foreseen", "seen")
    }
    return CalibrationBin(low=bins[0].low, high=bins[0].high, groups=groups, **means)
