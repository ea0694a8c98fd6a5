"""A stretch measured, and held beside the run's first completions: which figures are out of bounds, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from memr_client.insight import Audit, AuditName, Stretch
from memr_client.schemas import RunConfig

from memr_service.history import quantiles
from memr_service.insight import diagnostics
from memr_service.insight.span import Span
from memr_service.insight.thresholds import Bounds, Thresholds

TOLD: dict[AuditName, tuple[str, str]] = {
    "reward_mode": (
        "How far the closeness to earlier successes rose, in spreads, while the outcome did not rise.",
        "Read samples: the policy has found what pays without being right. Lower the memory's weight, or guard it.",
    ),
    "length_short": (
        "Median length beside what it was at first.",
        "Read samples: short answers cost least. Lower explore's weight, set min_chars, or check the verifier.",
    ),
    "length_long": (
        "Median length beside what it was at first.",
        "Read samples for padding. Set max_chars or max_repetition, or a length limit in the trainer.",
    ),
    "truncation": (
        "Share of completions that the trainer cut.",
        "Raise the completion limit, or set drop_truncated: a cut answer cannot be right.",
    ),
    "component_share": (
        "Share of the reward that one component brings.",
        "The others might as well be off: change the weights, or look at why they pay nothing.",
    ),
    "memory_share": (
        "Share of the advantages' variance that comes from the memory instead of the verifier.",
        "Training follows the memory. Set max_spread or mixed_groups_only, or lower its weight.",
    ),
    "auc_leak": (
        "How well the raw component ranks right above wrong within groups.",
        "Near 1 it is the label itself: is the outcome in the text, or the order 'official'?",
    ),
    "auc_inverted": (
        "How well the raw component ranks right above wrong within groups.",
        "It pays wrong completions more: lower its weight, or look at what its memory holds (memr explain).",
    ),
    "diversity": (
        "1 - mean cosine of siblings, beside what it was at first.",
        "Samples grow alike: raise the temperature or the entropy bonus, add banded_novelty, or lower exploit.",
    ),
    "repeated_failures": (
        "Share of failures that repeat another failure.",
        "The same mistakes come again: add error_cluster, or raise explore's weight.",
    ),
    "template": (
        "How often a completion's nearest prompt is its own, above chance, beside what it was at first.",
        "Completions depend less on the question: look for a template in samples, and set topic_floor.",
    ),
    "explore_drift": (
        "How far the median raw explore moved, in spreads of its first values.",
        "Scaled values hide it: novelty has run out, or junk is flooding the window. Try bounds p5-p95 or guards.",
    ),
    "zero_variance": (
        "Share of groups whose outcomes are all equal.",
        "The verifier teaches nothing there: easier or harder questions, more samples, or dynamic sampling.",
    ),
}
"""Audit -> what its figure is, and what to do when it fires."""


def measure(span: Span, config: RunConfig) -> Stretch:
    """All figures of a stretch."""
    right, wrong = span.outcomes > config.success_threshold, span.outcomes <= config.failure_threshold
    weights, group = config.weights, span.group
    told = ~np.isnan(span.truncated)
    shares = diagnostics.memory_shares(span.outcomes, config.memory_weight * span.rewards, group, right)
    repeated = diagnostics.repeated_failures(span.completions, group, wrong, span.raw.get("explore"))
    return Stretch(
        first_position=span.first_position,
        position=span.position,
        first_step=span.first_step,
        step=span.step,
        completions=len(span),
        groups=int(group.max()) + 1,
        outcome=float(span.outcomes.mean()),
        reward=float(span.rewards.mean()),
        zero_variance=diagnostics.zero_variance(span.outcomes, group),
        length=quantiles(span.lengths.astype(np.float64)),
        truncated=float(span.truncated[told].mean()) if told.any() else None,
        shares=diagnostics.component_shares({name: values[span.warm] for name, values in span.scaled.items()}, weights)
        if span.warm.any()
        else {},
        memory_share={kind: share for kind, share in shares.items() if not np.isnan(share)},
        auc={name: _known(diagnostics.auc(raw, right, group)) for name, raw in span.raw.items()},
        raw={name: quantiles(raw[~np.isnan(raw)]) for name, raw in span.raw.items()},
        diversity=_known(diagnostics.diversity(span.completions, group)),
        vendi=_known(diagnostics.vendi(span.completions, group)),
        repeated_failures=_known(repeated),
        own_prompt=_known(diagnostics.own_prompt(span.completions, span.prompts, span.keys)),
    )


def audit(recent: Stretch, baseline: Stretch | None, limits: Thresholds) -> list[Audit]:
    """Every audit of a stretch, beside the run's first one where there is one apart from it."""
    found = [*_absolute(recent)]
    compared = baseline if baseline is not None and baseline.position < recent.first_position else None
    found += _compared(recent, compared, limits.outcome_gain)
    if recent.completions < limits.least:
        found = [(name, about, None, None) for name, about, _, _ in found]
    return [_judged(name, about, value, before, getattr(limits, name)) for name, about, value, before in found]


Found = tuple[AuditName, str, float | None, float | None]
"""Audit, what it is about, its figure, and the figure it is compared with."""


def _absolute(recent: Stretch) -> Iterator[Found]:
    """Audits that need no comparison."""
    yield "truncation", "", recent.truncated, None
    if len(recent.raw) > 1:
        largest = max(recent.shares, key=lambda name: recent.shares[name], default="")
        yield "component_share", largest, recent.shares.get(largest), None
    yield "memory_share", "", sum(recent.memory_share.values()) if recent.memory_share else None, None
    for name, value in recent.auc.items():
        yield "auc_leak", name, value, None
        yield "auc_inverted", name, value, None
    yield "repeated_failures", "", recent.repeated_failures, None
    yield "zero_variance", "", recent.zero_variance, None


def _compared(now: Stretch, before: Stretch | None, outcome_gain: float) -> Iterator[Found]:
    """Audits of a change since the run's first completions."""
    lengths, diversity, own_prompt = (
        (None, None, None) if before is None else (before.length.p50, before.diversity, before.own_prompt)
    )
    yield "length_short", "", _ratio(now.length.p50, lengths), lengths
    yield "length_long", "", _ratio(now.length.p50, lengths), lengths
    yield "diversity", "", _ratio(now.diversity, diversity), diversity
    yield "template", "", _ratio(now.own_prompt, own_prompt), own_prompt
    moved = _moved(now, before, "explore")
    if "explore" in now.raw:
        was = before.raw.get("explore") if before else None
        yield "explore_drift", "explore", None if moved is None else abs(moved), was.p50 if was else None
    risen = _moved(now, before, "exploit")
    if "exploit" in now.raw:
        gained = None
        if before is not None and risen is not None:
            gained = diagnostics.gain_without_outcome(risen, now.outcome - before.outcome, outcome_gain)
        yield "reward_mode", "exploit", gained, None if before is None else before.outcome


def _moved(now: Stretch, before: Stretch | None, name: str) -> float | None:
    """How far a component's median raw value moved, in spreads of its first ones."""
    one, other = now.raw.get(name), before.raw.get(name) if before else None
    if one is None or other is None:
        return None
    return diagnostics.moved((one.p5, one.p50, one.p95), (other.p5, other.p50, other.p95))


def _judged(name: AuditName, about: str, value: float | None, before: float | None, bounds: Bounds) -> Audit:
    warn, alarm = bounds
    state: Literal["ok", "warn", "alarm", "unknown"] = "unknown"
    if value is not None:
        sign = 1 if alarm >= warn else -1
        state = "alarm" if sign * value > sign * alarm else "warn" if sign * value > sign * warn else "ok"
    says, remedy = TOLD[name]
    return Audit(
        name=name, state=state, about=about, value=value, baseline=before, limit=alarm, says=says, remedy=remedy
    )


def _ratio(now: float | None, before: float | None) -> float | None:
    return now / before if now is not None and before is not None and before > 0 else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
