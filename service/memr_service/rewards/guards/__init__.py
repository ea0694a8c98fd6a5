"""What keeps a component from being gamed: pure functions that reject items, or bound and scale what they are paid.

An item that a guard rejects has no raw value, so that it never reaches the window, where a single outlier squeezes
everybody else together. It must earn the least that the component pays: 0 where scaled, else its lower end.
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
