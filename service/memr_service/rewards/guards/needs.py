"""Which measures of texts a run's guards need, so that a request is measured for those alone."""

from __future__ import annotations

from typing import Literal

from memr_client.schemas import Component, ComponentGuards, RunConfig, WriteGates

TextMeasure = Literal["repeated", "copied", "foreign", "names_answer"]
"""A measure of each completion's text, and the field of `Batch` that holds it: `repeated_share`, `copied_share`,
`foreign_stretches` and `names_answer`."""

MEASURE_OF: dict[str, TextMeasure] = {
    "max_repetition": "repeated",
    "max_copied": "copied",
    "max_foreign": "foreign",
    "answer_chars": "names_answer",
}
"""Guard -> the measure that it compares with its limit."""


def tells_sent_apart(config: RunConfig) -> bool:
    """Whether a guard treats embeddings that were sent unlike those of the service's encoder (`topic_for`)."""
    return any(one.topic_floor is not None and one.topic_for == "encoded" for one in _limits(config))


def needs(config: RunConfig) -> frozenset[TextMeasure]:
    """The text measures that a component's guards or the memory's write gates need.

    >>> sorted(needs(RunConfig(components={"exploit": {"guards": {"max_copied": 0.5}}})))
    ['copied']
    """
    limits = _limits(config)
    return frozenset(
        measure for guard, measure in MEASURE_OF.items() if any(getattr(one, guard) is not None for one in limits)
    )


def longest_answer(config: RunConfig) -> int:
    """Characters beyond which no guard or gate asks whether a completion is a short answer."""
    return max((one.answer_chars or 0 for one in _limits(config)), default=0)


def _limits(config: RunConfig) -> list[ComponentGuards | WriteGates]:
    """The memory's write gates, and the guards of every component."""
    return [config.memory.gates, *(one.guards for one in config.components.values() if isinstance(one, Component))]
