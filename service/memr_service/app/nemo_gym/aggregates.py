"""Statistics over verified rollouts, under the names that NeMo Gym gives them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from memr_client.errors import InvalidRequest
from memr_client.schemas import NeMoGymAggregates

TASK, REPEAT = "_ng_task_index", "_ng_rollout_index"

Column = np.ndarray
STATISTICS: dict[str, Callable[[Column], float]] = {
    "mean": lambda values: float(values.mean()),
    "max": lambda values: float(values.max()),
    "min": lambda values: float(values.min()),
    "median": lambda values: float(np.median(values)),
    "std": lambda values: float(values.std(ddof=1)) if len(values) > 1 else 0.0,
}


def aggregate(responses: Sequence[Mapping[str, Any]]) -> NeMoGymAggregates:
    """Statistics over all rollouts, for each task, and for each repeat.

    Rollouts with `mask_sample` do not count; `coverage/...` says how many there were, if any.

    Args:
        responses: what `/verify` returned for each rollout.

    Raises:
        InvalidRequest: an index is no whole number.
    """
    scored = [one for one in responses if not one.get("mask_sample")]
    rows = [_numbers(one) for one in scored]
    tasks, repeats = ([_index(one, name) for one in scored] for name in (TASK, REPEAT))
    coverage = _coverage(responses, set(tasks))
    overall = {**_statistics(rows), **coverage}
    if scored:
        overall["num_repeats"] = float(len({_index(one, REPEAT) for one in responses}))
    means = {name: value for name, value in overall.items() if name.startswith("mean/")}
    return NeMoGymAggregates(
        agent_metrics=overall,
        key_metrics={**means, **coverage},
        group_level_metrics=_by(TASK, tasks, rows, "num_rollouts"),
        repeat_level_metrics=_by(REPEAT, repeats, rows, "sample_count") if len(set(repeats)) > 1 else [],
    )


def _by(name: str, keys: Sequence[int], rows: Sequence[dict[str, float]], count: str) -> list[dict[str, float]]:
    """The number and the statistics of the rows with each key, in the order of keys."""
    members: defaultdict[int, list[dict[str, float]]] = defaultdict(list)
    for key, row in zip(keys, rows, strict=True):
        members[key].append(row)
    return [{name: key, count: len(members[key]), **_statistics(members[key])} for key in sorted(members)]


def _statistics(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Statistics of every number, over the rows that have it."""
    columns: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            columns[name].append(value)
    return {
        f"{statistic}/{name}": of(np.array(values, np.float64))
        for name, values in columns.items()
        for statistic, of in STATISTICS.items()
    }


def _numbers(response: Mapping[str, Any]) -> dict[str, float]:
    """The numbers at the top of a response, true as 1, and those of the model's usage."""
    inner = response.get("response")
    usage = inner.get("usage") if isinstance(inner, dict) else None
    fields = {**response, **(usage if isinstance(usage, dict) else {})}
    return {
        name: float(value)
        for name, value in fields.items()
        if isinstance(value, int | float) and name != "mask_sample" and not name.startswith("_")
    }


def _coverage(responses: Sequence[Mapping[str, Any]], measured: set[int]) -> dict[str, float]:
    masked = [one for one in responses if one.get("mask_sample")]
    if not masked:
        return {}
    lost = {_index(one, TASK) for one in masked} - measured
    return {
        "coverage/measured_rollouts": float(len(responses) - len(masked)),
        "coverage/masked_rollouts": float(len(masked)),
        "coverage/measured_tasks": float(len(measured)),
        "coverage/fully_masked_tasks": float(len(lost)),
    }


def _index(response: Mapping[str, Any], name: str) -> int:
    index = response.get(name, 0)
    if isinstance(index, int):
        return index
    raise InvalidRequest(
        f"{name} of a response is no whole number.",
        value=f"a value of type {type(index).__name__}",
        limit="a whole number",
        remedy="Send the responses of /verify as they are in the file of rollouts.",
    )
