"""A stretch measured, and held beside the run's first completions: which figures are out of bounds, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from memr_client.schemas import Audit, AuditName, RunConfig, Stretch

from memr_service.insight.audits import diagnostics
from memr_service.insight.audits.stretch import StretchColumns
from memr_service.run.history import quantiles
from memr_service.settings import Bounds, Thresholds

TOLD: dict[AuditName, tuple[str, str]] = {
    "reward_mode": (
        "How far the closeness to earlier successes rose, in spreads of its first values.",
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
        "How well the raw component ranks right above wrong within groups, now and at first, whichever is less.",
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
        "Share of failures that repeat another failure, where it rose.",
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


def measure(span: StretchColumns, config: RunConfig) -> Stretch:
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
    compared = baseline if baseline is not None and baseline.position < recent.first_position else None
    found = [*_absolute(recent), *_ranks(recent, baseline), *_compared(recent, compared, limits)]
    if recent.completions < limits.least:
        found = [replace(one, value=None, before=None) for one in found]
    return [_judged(one, getattr(limits, one.name)) for one in found]


@dataclass(frozen=True)
class Found:
    """What an audit looks at."""

    name: AuditName
    about: str
    value: float | None
    before: float | None = None
    """The figure it is compared with."""
    excused: bool = False
    """Whether something else says that all is well."""


def _absolute(recent: Stretch) -> Iterator[Found]:
    """Audits that need no comparison."""
    yield Found("truncation", "", recent.truncated)
    if len(recent.raw) > 1:
        largest = max(recent.shares, key=lambda name: recent.shares[name], default="")
        yield Found("component_share", largest, recent.shares.get(largest))
    yield Found("memory_share", "", sum(recent.memory_share.values()) if recent.memory_share else None)
    yield Found("zero_variance", "", recent.zero_variance)


def _ranks(now: Stretch, begun: Stretch | None) -> Iterator[Found]:
    """A leak is there from the first; later the right ones may well be known by their looks, for they are all alike."""
    for name, value in now.auc.items():
        first = begun.auc.get(name) if begun is not None else None
        yield Found("auc_leak", name, value if value is None or first is None else min(value, first), first)
        yield Found("auc_inverted", name, value)


def _compared(now: Stretch, before: Stretch | None, limits: Thresholds) -> Iterator[Found]:
    """Audits of a change since the run's first completions: none of them is a collapse where the outcome rose."""
    learned = before is not None and now.outcome - before.outcome >= limits.outcome_gain
    lengths, diversity, repeated, own_prompt = (
        (before.length.p50, before.diversity, before.repeated_failures, before.own_prompt) if before else (None,) * 4
    )
    yield Found("length_short", "", _ratio(now.length.p50, lengths), lengths, learned)
    yield Found("length_long", "", _ratio(now.length.p50, lengths), lengths, learned)
    yield Found("diversity", "", _ratio(now.diversity, diversity), diversity, learned)
    again = now.repeated_failures if repeated is not None else None
    as_ever = again is not None and repeated is not None and again - repeated < limits.repeats_gain
    yield Found("repeated_failures", "", again, repeated, learned or as_ever)
    recognised = own_prompt is not None and own_prompt >= limits.recognised
    yield Found("template", "", _ratio(now.own_prompt, own_prompt) if recognised else None, own_prompt, learned)
    if "explore" in now.raw:
        drift = _moved(now, before, "explore")
        yield Found("explore_drift", "explore", drift and abs(drift), _median(before, "explore"), learned)
    if "exploit" in now.raw:
        closer = _moved(now, before, "exploit")
        yield Found("reward_mode", "exploit", closer and max(0.0, closer), _median(before, "exploit"), learned)


def _moved(now: Stretch, before: Stretch | None, name: str) -> float | None:
    """How far a component's median raw value moved, in spreads of its first ones."""
    one, other = now.raw.get(name), before.raw.get(name) if before else None
    if one is None or other is None:
        return None
    return diagnostics.moved((one.p5, one.p50, one.p95), (other.p5, other.p50, other.p95))


def _median(stretch: Stretch | None, name: str) -> float | None:
    values = stretch.raw.get(name) if stretch is not None else None
    return None if values is None else values.p50


def _judged(found: Found, bounds: Bounds) -> Audit:
    warn, alarm = bounds
    state: Literal["ok", "warn", "alarm", "unknown"] = "unknown"
    if found.value is not None:
        sign = 1 if alarm >= warn else -1
        if found.excused or sign * found.value <= sign * warn:
            state = "ok"
        else:
            state = "alarm" if sign * found.value > sign * alarm else "warn"
    says, remedy = TOLD[found.name]
    return Audit(
        name=found.name,
        state=state,
        about=found.about,
        value=found.value,
        baseline=found.before,
        limit=alarm,
        says=says,
        remedy=remedy,
    )


def _ratio(now: float | None, before: float | None) -> float | None:
    return now / before if now is not None and before is not None and before > 0 else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
