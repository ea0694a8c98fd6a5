"""Guards keep a component from being gamed: they reject items, or bound and scale what a component pays.

A rejected item has no raw value, so it never enters the window, where one outlier would squeeze all other values
together. It earns the least that the component can pay: 0 for a scaled component, otherwise its lower end.
"""

from memr_service.rewards.guards.bounds import anneal, cap, spread_cap
from memr_service.rewards.guards.needs import TextMeasure, needs
from memr_service.rewards.guards.overlap import copied_share, foreign_stretches
from memr_service.rewards.guards.rejection import (
    REASONS,
    copied,
    foreign,
    mixed_groups_only,
    neighbour_floor,
    only_if,
    rejections,
    repetition,
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
    "copied_share",
    "foreign",
    "foreign_stretches",
    "mixed_groups_only",
    "needs",
    "neighbour_floor",
    "only_if",
    "rank",
    "rejections",
    "repeated_share",
    "repetition",
    "spread_cap",
    "too_long",
    "too_short",
    "topic_floor",
    "trimmed",
    "truncated",
]
