"""One rule for each guard: from which quantile of the run's own values its limit comes, and with which margin.

A limit that separates attempts from junk comes from right completions only. A right completion is an attempt, while any
share of the wrong ones may be junk: a quantile over both would move to where the junk is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from memr_client.schemas import Calibration, Component, Proposal, Sides

from memr_service.insight.calibration.histogram import Histogram
from memr_service.insight.calibration.survey import Survey

RARE = 0.005
"""The share of right completions that lies beyond a limit before its margin is added."""
NEEDED = 200
"""Right completions that a proposal needs, so that at least one lies beyond the quantile."""
STRANGERS = 0.999
"""Quantile of the cosines of two different prompts for `neighbour_floor`."""
PAIRS_NEEDED = 1000
"""Pairs of prompts that it needs."""
UNLIKE = 0.995
"""Quantile of the cosines of a right and a wrong completion of one prompt for `merge_similarity`."""
WORST_READ = 0.1
"""Quantile of the number of failures that a completion is compared with, for `explore_warmup_steps`."""

MOST_REJECTED = 0.2
"""Largest share of right completions that a limit may reject."""
HARMLESS = ("merge_similarity", "explore_warmup_steps")
"""Settings that reject nothing: what they count is merged, or comes before explore is on."""

TOPIC_MARGIN = 0.05
REPETITION_MARGIN = 0.15
LENGTH_FACTOR = 2


def propose(survey: Survey, run_id: str, position: int) -> Calibration:
    """The proposals for a run from a survey of its records that is finished."""
    proposals = [_if_it_spares(one) for one in _proposals(survey)]
    completions, config = survey.topic.seen(), _config(survey, proposals)
    return Calibration(run_id=run_id, position=position, completions=completions, proposals=proposals, config=config)


def _if_it_spares(one: Proposal) -> Proposal:
    """The proposal, without its value if the limit would reject too many right completions."""
    right, of = one.rejected.right, one.seen.right
    if one.value is None or one.setting in HARMLESS or right <= MOST_REJECTED * of:
        return one
    why = f"Not proposed: {one.value:g} would reject {right / of:.0%} of the right completions."
    return one.model_copy(update={"value": None, "too_harsh": True, "why": why})


def _proposals(survey: Survey) -> Iterator[Proposal]:
    yield topic_floor(survey.topic)
    yield from length_limits(survey.chars)
    yield max_repetition(survey.repeated)
    yield drop_truncated(survey.truncated)
    for component in survey.neighbours.nearest:
        if component in survey.config.components and survey.config.barrier != "snapshot":
            yield neighbour_floor(survey.neighbours.pairs, survey.neighbours.nearest[component], component)
    yield merge_similarity(survey.unlike, survey.alike)
    if "explore" in survey.config.components:
        yield explore_warmup(survey)


def topic_floor(topic: Histogram) -> Proposal:
    """0.05 below the 0.5 % quantile of cos(q, a), rounded down; refusals and noise are 0.3 and more below it."""
    at = topic.quantile(RARE, right_only=True)
    floor = math.floor(round(100 * (at - TOPIC_MARGIN), 6)) / 100
    return _of_right(
        "topic_floor",
        topic,
        RARE,
        floor if floor > 0 else None,
        topic.below(floor),
        of="cosine of right completions to their prompt",
        why=f"{TOPIC_MARGIN} below the quantile. Refusals, noise and answers to something else are far lower."
        if floor > 0
        else "Right completions are as far from their prompts as noise is: cosines cannot distinguish them.",
    )


def length_limits(chars: Histogram) -> Iterator[Proposal]:
    """min_chars is half the 0.5 % quantile of lengths, max_chars twice the 99.5 % one: lengths change in training."""
    short, long = chars.quantile(RARE, right_only=True), chars.quantile(1 - RARE, right_only=True)
    least, most = int(short) // LENGTH_FACTOR, int(long) * LENGTH_FACTOR
    of = "characters of right completions"
    yield _of_right(
        "min_chars",
        chars,
        RARE,
        least or None,
        chars.below(least),
        of=of,
        why="Half of the quantile." if least else "Some right completions have hardly any characters.",
    )
    why = "Twice the quantile: completions may grow while the policy learns, and padding is longer still."
    yield _of_right("max_chars", chars, 1 - RARE, most, chars.above(most), of=of, why=why)


def max_repetition(repeated: Histogram) -> Proposal:
    """0.15 above the 99.5 % quantile, rounded up; a text that is said twice has a share of 0.5."""
    at = repeated.quantile(1 - RARE, right_only=True)
    most = 1.0 if math.isnan(at) else math.ceil(round(100 * (at + REPETITION_MARGIN), 6)) / 100
    return _of_right(
        "max_repetition",
        repeated,
        1 - RARE,
        most if most < 1 else None,
        repeated.above(most),
        of="share of right completions that is repeated",
        why=f"{REPETITION_MARGIN} above the quantile. A text that is said twice has 0.5, a loop has more."
        if most < 1
        else "Right completions repeat themselves as much as loops do.",
    )


def drop_truncated(truncated: Histogram) -> Proposal:
    """On if at most 0.5 % of the right completions were cut: the others end before the trainer's limit."""
    cut, seen = truncated.above(0), truncated.seen()
    fits = cut.right <= RARE * seen.right
    why = "Right completions end before the trainer's limit." if fits else "Too many right completions were cut."
    of = "right completions, 1 where truncated"
    return _of_right("drop_truncated", truncated, 1 - RARE, True if fits else None, cut, of=of, why=why)


def neighbour_floor(pairs: Histogram, nearest: Histogram, component: str) -> Proposal:
    """The 99.9 % quantile of the cosines of two prompts of the run, rounded up."""
    at = pairs.quantile(STRANGERS)
    enough = pairs.seen().wrong >= PAIRS_NEEDED
    floor = math.ceil(round(100 * at, 6)) / 100 if enough else None
    why = "Above 999 of 1,000 pairs of prompts: completions for less similar prompts say nothing about this one."
    return Proposal(
        setting="neighbour_floor",
        component=component,
        value=floor,
        why=why if enough else _too_few(pairs.seen().wrong, PAIRS_NEEDED, "pairs of prompts"),
        of="cosine of two different prompts",
        values=pairs.seen().wrong,
        quantile=STRANGERS,
        at=_number(at),
        rejected=_NONE if floor is None else nearest.below(floor),
        seen=nearest.seen(),
    )


def merge_similarity(unlike: Histogram, alike: Histogram) -> Proposal:
    """The 99.5 % quantile of the cosines of a right and a wrong completion of one prompt.

    Completions that are more alike differ in nothing that a verifier sees. A quantile over all pairs would rise when a
    policy collapses, so that nothing would be merged when it is needed most.
    """
    at = unlike.quantile(UNLIKE)
    enough = unlike.seen().wrong >= NEEDED
    seen, below = alike.seen(), alike.below(at) if enough else alike.seen()
    why = "More alike than nearly all pairs that a verifier distinguishes: repetitions of one completion."
    return Proposal(
        setting="merge_similarity",
        value=at if enough else None,
        why=why if enough else _too_few(unlike.seen().wrong, NEEDED, "pairs of a right and a wrong completion"),
        of="cosine of a right and a wrong completion of one prompt",
        values=unlike.seen().wrong,
        quantile=UNLIKE,
        at=_number(at),
        rejected=Sides(right=seen.right - below.right, wrong=seen.wrong - below.wrong),
        seen=seen,
    )


def explore_warmup(survey: Survey) -> Proposal:
    """The first step whose median item reads at least the 10 % quantile of the failures that an item reads, and one.

    Novelty is a distance to the nearest failure read: with fewer failures it is larger, whatever the completion says.
    """
    at = survey.read.quantile(WORST_READ)
    warm = next((step for step, (median, _, _) in enumerate(survey.steps) if median >= max(1, at)), len(survey.steps))
    never = warm == len(survey.steps)
    early = [] if never else survey.steps[:warm]
    why = "In the first step after these the median completion is compared with at least as many failures as that."
    return Proposal(
        setting="explore_warmup_steps",
        value=None if never else warm,
        why="In no step was the median completion compared with as many failures as that." if never else why,
        of="failures that a completion is compared with",
        values=sum(right + wrong for _, right, wrong in survey.steps),
        quantile=WORST_READ,
        at=at,
        rejected=Sides(right=sum(right for _, right, _ in early), wrong=sum(wrong for _, _, wrong in early)),
        seen=survey.read.seen(),
    )


_NONE = Sides(right=0, wrong=0)


def _of_right(
    setting: str, histogram: Histogram, share: float, value: float | None, rejected: Sides, *, of: str, why: str
) -> Proposal:
    """A proposal that comes from right completions; without a value if there are too few."""
    values = histogram.seen().right
    if values < NEEDED:
        why = _too_few(values, NEEDED, "right completions for which it is known")
        return _proposal(setting, histogram, share, None, _NONE, of, why)
    return _proposal(setting, histogram, share, value, _NONE if value is None else rejected, of, why)


def _proposal(
    setting: str, histogram: Histogram, share: float, value: float | None, rejected: Sides, of: str, why: str
) -> Proposal:
    seen, at = histogram.seen(), _number(histogram.quantile(share, right_only=True))
    return Proposal(
        setting=setting, value=value, why=why, of=of, values=seen.right, quantile=share, at=at, rejected=rejected,
        seen=seen,
    )  # fmt: skip


def _too_few(values: int, needed: int, what: str) -> str:
    return f"Needs {needed} {what}; there are {values}."


def _number(at: float) -> float | None:
    return None if math.isnan(at) else at


def _config(survey: Survey, proposals: list[Proposal]) -> dict[str, Any]:
    """The proposals as fields of a `RunConfig`, added to the options of the run's components."""
    given = {(one.component, one.setting): one.value for one in proposals if one.value is not None}
    components = {}
    for name, options in survey.config.components.items():
        assert isinstance(options, Component)
        limits = {setting: value for (of, setting), value in given.items() if of in (None, name)}
        known = {setting: value for setting, value in limits.items() if setting in type(options.guards).model_fields}
        guards = options.guards.model_copy(update=known)
        components[name] = options.model_copy(update={"guards": guards}).model_dump(mode="json")
    config: dict[str, Any] = {"components": components}
    if (warm := given.get((None, "explore_warmup_steps"))) is not None:
        config["explore_warmup_steps"] = warm
    if (similar := given.get((None, "merge_similarity"))) is not None:
        memory = survey.config.memory.model_copy(update={"merge_similarity": similar})
        config["memory"] = memory.model_dump(mode="json")
    return config
