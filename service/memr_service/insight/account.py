"""Accounts for a reward in words: what each component paid and why, and what the sum came to."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from memr_client.schemas import ComponentTerm

from memr_service.insight.limits import number
from memr_service.rewards import guards
from memr_service.state.record import Batch
from memr_service.state.state import State
from memr_service.state.window import FLAT

ROUNDING = 1e-12
"""Differences of sums below this, or this share of them, come from rounding."""


def account(
    state: State,
    batch: Batch,
    item: int,
    terms: Mapping[str, ComponentTerm],
    paid: np.ndarray,
    reward: float,
) -> list[str]:
    """Sentences that account for an item's reward: one for each component, and one for the sum.

    Args:
        paid: the sum of the components for each item of the batch (n,), before the spread of groups is limited.
    """
    centred = state.config.center == "group"
    said = [f"{name} pays {number(term.contribution)}: {_why(term, centred)}." for name, term in terms.items()]
    total = float(paid[item])
    if not math.isclose(total, reward, rel_tol=ROUNDING, abs_tol=ROUNDING):
        held = _held(state, batch, item, paid)
        return [*said, f"{held}, so that {number(total)} becomes a reward of {number(reward)}."]
    return [*said, f"{'Together that is' if len(said) > 1 else 'That is'} a reward of {number(reward)}."]


def _why(term: ComponentTerm, centred: bool) -> str:
    """Why a component pays what it does; `centred`: whether the mean of the group is subtracted from scaled values."""
    applied = {limit.name: limit for limit in term.limits if limit.applied}
    if term.rejected:
        return f"rejected by {' and by '.join(f'{name} ({limit.says})' for name, limit in applied.items())}"
    scaled = f"{number(term.scaled)} scaled"
    if term.raw is None:
        return term.why_zero or f"{scaled}, without a raw value"
    place = f"raw {number(term.raw)}"
    if term.window is not None:
        low, high = term.window.low, term.window.high
        if term.scaled == 0 and high - low < FLAT:
            return f"{place}; its window has {term.window.count} of this value only, which scales to 0"
        place += f" in a window from {number(low)} to {number(high)}"
    if term.scaled == 0:
        return f"{place}: {term.why_zero}"
    if centred:
        place += ", less the mean of its group"
    said = f"{scaled} ({place}) × weight {number(term.weight)}"
    if (side := applied.get("earned_by")) is not None:
        said = f"{scaled} ({place}), but only {side.limit} completions earn it (earned_by: {side.says})"
    if "anneal" in applied:
        said += f", annealed (anneal: {applied['anneal'].says})"
    if "cap" in applied:
        said += f", cut to the cap (cap: {applied['cap'].says})"
    return said


def _held(state: State, batch: Batch, item: int, paid: np.ndarray) -> str:
    """Which limit on the spread of rewards within a group holds an item's reward, and by how much."""
    config = state.config
    spread = number(float(guards.spread(paid, batch.group)[item]))
    equal = config.equal_spread if batch.equal_spread is None else batch.equal_spread
    if equal is not None and guards.equal_outcomes(batch.outcomes, batch.group)[item]:
        whose = "run" if batch.equal_spread is None else "request"
        return (
            f"All outcomes of its group are equal, and the {whose}'s equal_spread={number(equal)} limits the spread of "
            f"their rewards, which is {spread}"
        )
    if config.max_spread is None:
        return "The sum is too large a number"
    threshold = config.success_threshold if config.spread_of == "verdicts" else None
    outcomes = float(guards.outcome_spread(batch.outcomes, batch.group, threshold)[item])
    return (
        f"max_spread={number(config.max_spread)} limits the spread of its group's rewards, which is {spread}, to "
        f"{number(config.max_spread * outcomes)}, its share of the outcomes' spread of {number(outcomes)}"
    )
