"""Guards keep a component from being gamed: they reject items, or bound and scale what a component pays.

A rejected item has no raw value, so it never enters the window, where one outlier would squeeze all other values
together. It earns the least that the component can pay: 0 for a scaled component, otherwise its lower end.
"""

from memr_service.rewards.guards.answers import names_answer
from memr_service.rewards.guards.bounds import (
    anneal,
    cap,
    equal_outcomes,
    outcome_spread,
    spread,
    spread_cap,
    spread_limit,
)
from memr_service.rewards.guards.needs import TextMeasure, longest_answer, needs, tells_sent_apart
from memr_service.rewards.guards.overlap import copied_as_written, copied_share, foreign_stretches
from memr_service.rewards.guards.rejection import (
    REASONS,
    copied,
    foreign,
    mixed_groups_only,
    neighbour_floor,
    only_if,
    rejections,
    repetition,
    short_answer,
    too_long,
    too_short,
    topic_floor,
    truncated,
)
from memr_service.rewards.guards.repeats import repeated_share
from memr_service.rewards.guards.scaling import rank, trimmed

__all__ = [
    "REASONS",
    "TextMeasure",
    "anneal",
    "cap",
    "copied",
    "copied_as_written",
    "copied_share",
    "equal_outcomes",
    "foreign",
    "foreign_stretches",
    "longest_answer",
    "mixed_groups_only",
    "names_answer",
    "needs",
    "neighbour_floor",
    "only_if",
    "outcome_spread",
    "rank",
    "rejections",
    "repeated_share",
    "repetition",
    "short_answer",
    "spread",
    "spread_cap",
    "spread_limit",
    "tells_sent_apart",
    "too_long",
    "too_short",
    "topic_floor",
    "trimmed",
    "truncated",
]
