"""What the trainer logs of a reward call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memr_client.schemas import RewardResponse


def measures(answer: RewardResponse) -> Iterator[tuple[str, float]]:
    """Means over the answer's items, by name; one that no item has a value for is left out, not called 0."""
    for component, values in answer.components.items():
        yield from _mean(component, [raw for raw in values.raw if raw is not None])
        yield from _mean(f"{component}_scaled", values.scaled)
    yield from _mean("support_success", answer.support.success)
    yield from _mean("support_failure", answer.support.failure)
    yield from _mean("rejected", [float(bool(reasons)) for reasons in answer.guards.rejected])


def _mean(name: str, values: Sequence[float]) -> Iterator[tuple[str, float]]:
    if values:
        yield name, sum(values) / len(values)
