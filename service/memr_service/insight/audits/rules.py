"""Measures a stretch, compares it with the run's first completions, and judges which figures are out of bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from memr_client.schemas import Audit, AuditName, RunConfig, SpreadForeseen, Stretch

from memr_service.insight.audits import diagnostics
from memr_service.insight.audits.stretch import StretchColumns
from memr_service.run.history import quantiles
from memr_service.settings import Bounds, Thresholds

TEXTS: dict[AuditName, tuple[str, str]] = {
    "reward_mode": (
        "How far the median raw exploit rose since the first completions, relative to p95 - p5 of its first values.",
        "Read samples: the policy may have found what pays without being right. Lower the memory's weight, or add "
        "guards.",
    ),
    "length_short": (
        "Median length divided by the median length of the first completions.",
        "Read samples: short answers may be the cheapest. Lower explore's weight, set min_chars, or check the "
        "verifier.",
    ),
    "length_long": (
        "Median length divided by the median length of the first completions.",
        "Read samples for padding. Set max_chars or max_repetition, or a length limit in the trainer.",
    ),
    "truncation": (
        "Share of completions that the trainer cut.",
        "Raise the trainer's completion limit, or set drop_truncated: a cut completion has no answer.",
    ),
    "component_share": (
        "Share of the reward that the largest component contributes.",
        "The other components have almost no effect. Change the weights, or find out why the others pay so little.",
    ),
    "memory_share": (
        "Share of the advantages' variance that comes from the memory and not from the verifier.",
        "Training follows the memory more than the verifier. Set max_spread or mixed_groups_only, or lower the "
        "memory's weight.",
    ),
    "auc_leak": (
        "How well the raw component ranks right completions above wrong ones within groups (AUC), now or at first, "
        "whichever is smaller.",
        "Near 1 the component equals the label. Check whether the outcome is in the text, and whether the order is "
        "'official'.",
    ),
    "auc_inverted": (
        "How well the raw component ranks right completions above wrong ones within groups (AUC).",
        "The component pays wrong completions more than right ones. Lower its weight, or look at what its memory "
        "holds (memr explain).",
    ),
    "diversity": (
        "1 - mean cosine of siblings, divided by its value for the first completions.",
        "Samples are becoming alike. Raise the temperature or the entropy bonus, add banded_novelty, or lower "
        "exploit's weight.",
    ),
    "repeated_failures": (
        "Share of failures that repeat another failure, if it rose.",
        "The policy repeats the same mistakes. Add error_cluster, or raise explore's weight.",
    ),
    "template": (
        "How often a completion's nearest prompt is its own, above chance, divided by its value for the first "
        "completions.",
        "Completions depend less on the prompt. Read samples for a template, and set topic_floor.",
    ),
    "explore_drift": (
        "How far the median raw explore moved since the first completions, relative to p95 - p5 of its first values.",
        "Scaled values hide it: either there is no novelty left, or junk fills the window. Try the bounds p5-p95, "
        "or guards.",
    ),
    "zero_variance": (
        "Share of groups whose outcomes are all equal.",
        "The verifier teaches nothing in these groups. Use easier or harder prompts, more samples for each prompt, or "
        "dynamic sampling.",
    ),
    "plan_calibration": (
        "Mean distance between what pass rates foresaw of the spread of groups and what came, over prompts visited "
        "before; it counts where the run has a pool.",
        "Plans rest on pass rates that are wrong. Check that one id always means one prompt, that outcomes of one "
        "prompt are judged alike, and memr plan RUN --backtest; until then sample without the plan.",
    ),
}
"""Audit -> what its figure is, and what to do when it warns or alarms."""


STATES = ("alarm", "warn", "ok")
"""The worst first, without `unknown`."""


def measure(columns: StretchColumns, config: RunConfig) -> Stretch:
    """All figures of a stretch."""
    right, wrong = columns.outcomes > config.success_threshold, columns.outcomes <= config.failure_threshold
    weights, group = config.weights, columns.group
    known = ~np.isnan(columns.truncated)
    shares = diagnostics.memory_shares(columns.outcomes, config.memory_weight * columns.rewards, group, right)
    repeated = diagnostics.repeated_failures(columns.completions, group, wrong, columns.raw.get("explore"))
    return Stretch(
        first_position=columns.first_position,
        position=columns.position,
        first_step=columns.first_step,
        step=columns.step,
        completions=len(columns),
        groups=int(group.max()) + 1,
        outcome=float(columns.outcomes.mean()),
        reward=float(columns.rewards.mean()),
        zero_variance=diagnostics.zero_variance(columns.outcomes, group),
        length=quantiles(columns.lengths.astype(np.float64)),
        truncated=float(columns.truncated[known].mean()) if known.any() else None,
        shares=diagnostics.component_shares(
            {name: values[columns.warm] for name, values in columns.scaled.items()}, weights
        )
        if columns.warm.any()
        else {},
        memory_share={kind: share for kind, share in shares.items() if not np.isnan(share)},
        auc={name: _or_none(diagnostics.auc(raw, right, group)) for name, raw in columns.raw.items()},
        raw={name: quantiles(raw[~np.isnan(raw)]) for name, raw in columns.raw.items()},
        diversity=_or_none(diagnostics.diversity(columns.completions, group)),
        vendi=_or_none(diagnostics.vendi(columns.completions, group)),
        repeated_failures=_or_none(repeated),
        own_prompt=_or_none(diagnostics.own_prompt(columns.completions, columns.prompts, columns.keys)),
    )


def audit(recent: Stretch, baseline: Stretch | None, limits: Thresholds) -> list[Audit]:
    """Every audit of a stretch, the worst first.

    Args:
        baseline: the run's first stretch. Comparisons need one that does not overlap with `recent`.
        limits: below `limits.least` completions every audit is `unknown`.
    """
    left = _left_to_compare(recent, baseline, limits.window)
    earlier = baseline if baseline is not None and baseline.first_position < recent.first_position else None
    figures = [*_absolute(recent), *_ranks(recent, earlier), *_compared(recent, None if left else baseline, limits)]
    figures += _foreseen(recent.spread, limits.least_groups)
    if left:
        newer = f"newer completions than the first {limits.window}: about {left} more"
        figures = [replace(one, needs=newer) if one.compares else one for one in figures]
    if (few := limits.least - recent.completions) > 0:
        more = f"{few} more completions; it takes {limits.least}"
        figures = [replace(one, value=None, before=None, needs=more) for one in figures]
    judged = [(one, _judged(one, getattr(limits, one.name))) for one in figures]
    return [found for _, found in sorted(judged, key=lambda both: _severity(both[1]))]


def _left_to_compare(recent: Stretch, baseline: Stretch | None, window: int) -> int:
    """About how many completions are left until the newest `window` of them do not overlap with the first; 0: none."""
    if baseline is None or baseline.position < recent.first_position:
        return 0
    records = recent.position - recent.first_position + 1
    shared = round(recent.completions * (min(baseline.position, recent.position) - recent.first_position + 1) / records)
    return max(1, 2 * window - (baseline.completions + recent.completions - shared))


def _severity(audit: Audit) -> tuple[int, float]:
    """Smaller is worse: the state, then how far the figure is beyond its limit, in distances from warning to alarm."""
    if audit.value is None or audit.warn is None:
        return len(STATES), 0.0
    sign = 1 if audit.beyond == "above" else -1
    beyond = sign * (audit.value - audit.limit) / max(abs(audit.limit - audit.warn), 1e-9)
    return STATES.index(audit.state), -beyond


@dataclass(frozen=True)
class Figure:
    """The figure of one audit."""

    name: AuditName
    about: str
    """The component, or empty."""
    value: float | None
    """None if it cannot be measured."""
    before: float | None = None
    """The figure of the baseline that it is compared with."""
    excused: bool = False
    """Whether another figure shows that this one is harmless."""
    needs: str = ""
    """What the figure waits for if it cannot be measured."""
    compares: bool = False
    """Whether it is a change since the run's first completions."""


def _absolute(recent: Stretch) -> Iterator[Figure]:
    """Audits of the recent stretch alone."""
    yield Figure("truncation", "", recent.truncated, needs="a trainer that sends which completions were `truncated`")
    if len(recent.raw) > 1:
        largest = max(recent.shares, key=lambda name: recent.shares[name], default="")
        warm = "completions scored after the warm-up of every component"
        yield Figure("component_share", largest, recent.shares.get(largest), needs=warm)
    share = sum(recent.memory_share.values()) if recent.memory_share else None
    yield Figure("memory_share", "", share, needs="a group in which outcomes or rewards differ")
    yield Figure("zero_variance", "", recent.zero_variance)


def _foreseen(spread: SpreadForeseen | None, least: int) -> Iterator[Figure]:
    """The audit of what was foreseen. In a run without a pool nothing rests on it."""
    groups = 0 if spread is None else spread.groups
    yield Figure(
        "plan_calibration",
        "",
        spread.error if spread is not None and groups >= least else None,
        excused=spread is not None and not spread.planned,
        needs=f"{least - groups} more groups of prompts visited before among the last 64 records; it takes {least}",
    )


def _ranks(now: Stretch, earlier: Stretch | None) -> Iterator[Figure]:
    """Audits of how components rank right above wrong.

    A leak exists from the start, so the smaller of the two figures counts. Later a high rank is no leak: right
    completions that have become alike are easy to recognise.
    """
    for name, value in now.auc.items():
        first = earlier.auc.get(name) if earlier is not None else None
        needs = f"a group with right and wrong completions that have a value of {name}"
        leak = value if value is None or first is None else min(value, first)
        yield Figure("auc_leak", name, leak, first, needs=needs)
        yield Figure("auc_inverted", name, value, needs=needs)


def _compared(now: Stretch, before: Stretch | None, limits: Thresholds) -> Iterator[Figure]:
    """Audits of a change since the run's first completions. If the outcome rose, the change is no collapse."""
    learned = before is not None and now.outcome - before.outcome >= limits.outcome_gain
    lengths, diversity, repeated, own_prompt = (
        (before.length.p50, before.diversity, before.repeated_failures, before.own_prompt) if before else (None,) * 4
    )

    def change(
        name: AuditName, value: float | None, first: float | None, needs: str, *, about: str = "", excused: bool = False
    ) -> Figure:
        return Figure(name, about, value, first, learned or excused, needs, compares=True)

    empty = "a run whose first completions are not empty"
    yield change("length_short", _ratio(now.length.p50, lengths), lengths, empty)
    yield change("length_long", _ratio(now.length.p50, lengths), lengths, empty)
    alike = "siblings that differ, also among the run's first completions"
    yield change("diversity", _ratio(now.diversity, diversity), diversity, alike)
    again = now.repeated_failures if repeated is not None else None
    unchanged = again is not None and repeated is not None and again - repeated < limits.repeats_gain
    yield change("repeated_failures", again, repeated, "failures, also among the first completions", excused=unchanged)
    recognised = own_prompt is not None and own_prompt >= limits.recognised
    yield change(
        "template",
        _ratio(now.own_prompt, own_prompt) if recognised else None,
        own_prompt,
        f"first completions that find their own prompt more often than by chance, by {limits.recognised:g} at least; "
        f"here by {'nothing' if own_prompt is None else f'{own_prompt:.2g}'}",
    )
    if "explore" in now.raw:
        drift = _moved(now, before, "explore")
        value = None if drift is None else abs(drift)
        yield change("explore_drift", value, _median(before, "explore"), _values_of("explore"), about="explore")
    if "exploit" in now.raw:
        closer = _moved(now, before, "exploit")
        value = None if closer is None else max(0.0, closer)
        yield change("reward_mode", value, _median(before, "exploit"), _values_of("exploit"), about="exploit")


def _values_of(name: str) -> str:
    return f"completions with a value of {name}, which has one after its warm-up, where something was read"


def _moved(now: Stretch, before: Stretch | None, name: str) -> float | None:
    """How far a component's median raw value moved, relative to p95 - p5 of its first values.

    None if either stretch has none.
    """
    one, other = now.raw.get(name), before.raw.get(name) if before else None
    if one is None or other is None:
        return None
    return diagnostics.moved((one.p5, one.p50, one.p95), (other.p5, other.p50, other.p95))


def _median(stretch: Stretch | None, name: str) -> float | None:
    values = stretch.raw.get(name) if stretch is not None else None
    return None if values is None else values.p50


def _judged(figure: Figure, bounds: Bounds) -> Audit:
    """The audit of a figure: `warn` beyond the first bound, `alarm` beyond the second."""
    warn, alarm = bounds
    state: Literal["ok", "warn", "alarm", "unknown"] = "unknown"
    if figure.value is not None:
        sign = 1 if alarm >= warn else -1
        if figure.excused or sign * figure.value <= sign * warn:
            state = "ok"
        else:
            state = "alarm" if sign * figure.value > sign * alarm else "warn"
    says, remedy = TEXTS[figure.name]
    return Audit(
        name=figure.name,
        state=state,
        about=figure.about,
        value=figure.value,
        baseline=figure.before,
        limit=alarm,
        beyond="above" if alarm >= warn else "below",
        warn=warn,
        waits_for=figure.needs if figure.value is None else "",
        says=says,
        remedy=remedy,
    )


def _ratio(now: float | None, before: float | None) -> float | None:
    return now / before if now is not None and before is not None and before > 0 else None


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
