"""A table of durations: median, 10th and 90th percentile, beside what is wanted."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

COLUMNS = [
    {"heading": "", "cell": "{what}"},
    {"heading": "median", "cell": "{median:.3g} {unit}"},
    {"heading": "10 % to 90 %", "cell": "{low:.3g} to {high:.3g}"},
    {"heading": "wanted, at most", "cell": "{wanted:g} {unit}"},
]


def a_row(what: str, values: Sequence[float], unit: str, wanted: float) -> dict[str, Any]:
    """A row of the table, which is also printed."""
    low, high = np.quantile(values, [0.1, 0.9]).round(3).tolist()
    middle = round(statistics.median(values), 3)
    print(f"{what:72}{middle:9.2f} ({low:.2f} to {high:.2f}) {unit}  wanted: at most {wanted:g}", flush=True)
    return {"what": what, "median": middle, "low": low, "high": high, "unit": unit, "wanted": wanted}
