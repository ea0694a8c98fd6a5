"""Which measures of texts a run's guards need, so that a request is measured for those alone."""

from __future__ import annotations

from typing import Literal

from memr_client.schemas import Component, RunConfig

TextMeasure = Literal["repeated", "copied", "foreign"]
"""A measure of each completion's text, and the field of `Batch` that holds it: `repeated_share`, `copied_share` and
`foreign_stretches`."""

MEASURE_OF: dict[str, TextMeasure] = {
    "max_repetition": "repeated",
    "max_copied": "copied",
    "max_foreign": "foreign",
}
"""Guard -> the measure that it compares with its limit."""


def needs(config: RunConfig) -> frozenset[TextMeasure]:
    """The text measures that a component's guards or the memory's write gates need.

    >>> sorted(needs(RunConfig(components={"exploit": {"guards": {"max_copied": 0.5}}})))
    ['copied']
    """
    limits = [config.memory.gates, *(one.guards for one in config.components.values() if isinstance(one, Component))]
    return frozenset(
        measure for guard, measure in MEASURE_OF.items() if any(getattr(one, guard) is not None for one in limits)
    )
