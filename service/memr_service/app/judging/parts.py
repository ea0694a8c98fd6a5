"""The parts of a reward as columns of numbers, under the same names in every response of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from memr_client.schemas import RunConfig

from memr_service.run.response import Response


def counting(outcomes: Sequence[float], rewarded: Response) -> list[float]:
    """The outcomes that count (n): those of the verifier, or where the run repairs, those that it used instead."""
    return _numbers(rewarded.fields.get("outcomes_used", outcomes))


def parts(rewarded: Response, config: RunConfig) -> dict[str, list[float]]:
    """Name -> values (n). A raw value that does not exist is 0, with `NAME_defined` 0."""
    fields = rewarded.fields
    found: dict[str, list[float]] = {}
    for name in config.weights:
        values = fields["components"][name]
        raw = np.array(values["raw"], np.float64)  # a null of a stored response becomes NaN
        found[name] = _numbers(np.where(np.isnan(raw), 0.0, raw) + 0.0)  # `+ 0.0` makes -0.0 into 0.0
        found[f"{name}_scaled"] = _numbers(values["scaled"])
        found[f"{name}_defined"] = _numbers(~np.isnan(raw))
    found |= {f"support_{side}": _numbers(counts) for side, counts in fields["support"].items()}
    if "repaired" in fields:
        found["repaired"] = _numbers([why is not None for why in fields["repaired"]])
    found["rejected"] = _numbers([bool(reasons) for reasons in fields["guards"]["rejected"]])
    return found


@np.errstate(over="ignore")
def sums(outcomes: Sequence[float], weight: float, memory: Sequence[float] | np.ndarray) -> list[float]:
    """outcome + weight * reward (n), at most the largest float64."""
    found: list[float] = np.nan_to_num(np.asarray(outcomes, np.float64) + weight * np.asarray(memory)).tolist()
    return found


def _numbers(column: Sequence[float] | np.ndarray) -> list[float]:
    numbers: list[float] = np.asarray(column, np.float64).tolist()
    return numbers
