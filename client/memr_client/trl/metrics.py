"""The metrics of a reward call for the trainer's log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memr_client.schemas import RewardResponse


def metrics(response: RewardResponse) -> Iterator[tuple[str, float]]:
    """Names and means over the response's items. A metric without any value is left out."""
    for component, values in response.components.items():
        yield from _mean(component, [raw for raw in values.raw if raw is not None])
        yield from _mean(f"{component}_scaled", values.scaled)
    yield from _mean("support_success", response.support.success)
    yield from _mean("support_failure", response.support.failure)
    if response.repaired is not None:
        yield from _mean("repaired", [float(why is not None) for why in response.repaired])
    yield from _mean("rejected", [float(bool(reasons)) for reasons in response.guards.rejected])


def _mean(name: str, values: Sequence[float]) -> Iterator[tuple[str, float]]:
    if values:
        yield name, sum(values) / len(values)
