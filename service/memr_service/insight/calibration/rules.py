"""One rule for each guard: which quantile of the run's own values its limit rests on, and with which margin.

Where a limit is to tell attempts from junk it rests on right completions alone. A right answer is an attempt, whatever
else it is, while junk may be any share of the wrong ones: a quantile over both would sink to where the junk lies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from memr_client.schemas import Calibration, Component, Proposal, Sides

from memr_service.insight.calibration.histogram import Histogram
from memr_service.insight.calibration.survey import Survey

RARE = 0.005
"""Of right completions so many may lie beyond a limit before its margin is added."""
NEEDED = 200
"""Right completions, so that at least one lies beyond that quantile."""
STRANGERS = 0.999
PAIRS_NEEDED = 1000
UNLIKE = 0.995
WORST_READ = 0.1

TOPIC_MARGIN = 0.05
REPETITION_MARGIN = 0.15
LENGTH_FACTOR = 2


def propose(survey: Survey, run_id: str, position: int) -> Calibration:
    """The proposals for a run whose records were all counted, `finish` included."""
    proposals = list(_proposals(survey))
    completions, config = survey.topic.seen(), _config(survey, proposals)
    return Calibration(run_id=run_id, position=position, completions=completions, proposals=proposals, config=config)


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
    """0.05 under the 0.5 % quantile of cos(q, a), rounded down: refusals and noise lie 0.3 and more under it."""
    at = topic.quantile(RARE, right_only=True)
    floor = math.floor(round(100 * (at - TOPIC_MARGIN), 6)) / 100
    return _of_right(
        "topic_floor",
        topic,
        RARE,
        floor if floor > 0 else None,
        topic.below(floor),
        of="cosine of right completions to their prompt",
        why=f"{TOPIC_MARGIN} under it. Refusals, noise and answers to something else lie far below."
        if floor > 0
        else "Right completions lie as far from their prompts as noise does: cosines cannot tell them apart.",
    )


def length_limits(chars: Histogram) -> Iterator[Proposal]:
    """Half the 0.5 % quantile of lengths and twice the 99.5 % one: lengths change while a policy learns."""
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
        why="Half of it." if least else "Right completions may be as short as can be.",
    )
    why = "Twice that: completions may grow while the policy learns, padding is longer still."
    yield _of_right("max_chars", chars, 1 - RARE, most, chars.above(most), of=of, why=why)


def max_repetition(repeated: Histogram) -> Proposal:
    """0.15 over the 99.5 % quantile, rounded up: a text said twice over repeats half of itself."""
    at = repeated.quantile(1 - RARE, right_only=True)
    most = 1.0 if math.isnan(at) else math.ceil(round(100 * (at + REPETITION_MARGIN), 6)) / 100
    return _of_right(
        "max_repetition",
        repeated,
        1 - RARE,
        most if most < 1 else None,
        repeated.above(most),
        of="share of right completions that is repeated",
        why=f"{REPETITION_MARGIN} over it. What is said twice over scores 0.5, a loop more."
        if most < 1
        else "Right completions repeat themselves as loops do.",
    )


def drop_truncated(truncated: Histogram) -> Proposal:
    """Where at most 0.5 % of the right completions were cut: the others then reach their end before the limit."""
    cut, seen = truncated.above(0), truncated.seen()
    fits = cut.right <= RARE * seen.right
    why = "Right completions end by themselves." if fits else "Too many right completions were cut."
    of = "right completions, 1 where truncated"
    return _of_right("drop_truncated", truncated, 1 - RARE, True if fits else None, cut, of=of, why=why)


def neighbour_floor(pairs: Histogram, nearest: Histogram, component: str) -> Proposal:
    """The 99.9 % quantile of cosines between two prompts of the run, rounded up: nearer than a stranger by chance."""
    at = pairs.quantile(STRANGERS)
    enough = pairs.seen().wrong >= PAIRS_NEEDED
    floor = math.ceil(round(100 * at, 6)) / 100 if enough else None
    why = "Nearer than 999 of 1,000 pairs: completions for other prompts say nothing of this one."
    return Proposal(
        setting="neighbour_floor",
        component=component,
        value=floor,
        why=why if enough else _too_few(pairs.seen().wrong, PAIRS_NEEDED, "pairs of prompts"),
        of="cosine of two different prompts",
        values=pairs.seen().wrong,
        quantile=STRANGERS,
        at=_number(at),
        rejected=_NOBODY if floor is None else nearest.below(floor),
        seen=nearest.seen(),
    )


def merge_similarity(unlike: Histogram, alike: Histogram) -> Proposal:
    """The 99.5 % quantile of cosines between a right and a wrong completion of one prompt.

    What is more alike than those differs in nothing that a verifier sees. A quantile over all pairs would rise with a
    policy that collapses, and merge nothing just then.
    """
    at = unlike.quantile(UNLIKE)
    enough = unlike.seen().wrong >= NEEDED
    seen, below = alike.seen(), alike.below(at) if enough else alike.seen()
    why = "More alike than nearly all pairs that a verifier tells apart: repetitions of one completion."
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
    """The steps before the first one whose median item reads as many failures as the worst tenth of the run does.

    Novelty is a distance to the nearest failure read: with fewer of them it is larger, for no merit of the completion.
    """
    at = survey.read.quantile(WORST_READ)
    warm = next((step for step, (median, _, _) in enumerate(survey.steps) if median >= max(1, at)), len(survey.steps))
    never = warm == len(survey.steps)
    early = [] if never else survey.steps[:warm]
    why = "So many steps pass until the median completion is compared with as many failures as the worst tenth is."
    return Proposal(
        setting="explore_warmup_steps",
        value=None if never else warm,
        why="The median completion has had no failure to be compared with." if never else why,
        of="failures that a completion is compared with",
        values=sum(right + wrong for _, right, wrong in survey.steps),
        quantile=WORST_READ,
        at=at,
        rejected=Sides(right=sum(right for _, right, _ in early), wrong=sum(wrong for _, _, wrong in early)),
        seen=survey.read.seen(),
    )


_NOBODY = Sides(right=0, wrong=0)


def _of_right(
    setting: str, tally: Histogram, share: float, value: float | None, rejected: Sides, *, of: str, why: str
) -> Proposal:
    """A proposal that rests on right completions, unless there are too few."""
    values = tally.seen().right
    if values < NEEDED:
        return _proposal(
            setting, tally, share, None, _NOBODY, of, _too_few(values, NEEDED, "right completions of which it is known")
        )
    return _proposal(setting, tally, share, value, _NOBODY if value is None else rejected, of, why)


def _proposal(
    setting: str, tally: Histogram, share: float, value: float | None, rejected: Sides, of: str, why: str
) -> Proposal:
    seen, at = tally.seen(), _number(tally.quantile(share, right_only=True))
    return Proposal(
        setting=setting, value=value, why=why, of=of, values=seen.right, quantile=share, at=at, rejected=rejected,
        seen=seen,
    )  # fmt: skip


def _too_few(values: int, needed: int, what: str) -> str:
    return f"Needs {needed} {what}; there are {values}."


def _number(at: float) -> float | None:
    return None if math.isnan(at) else at


def _config(survey: Survey, proposals: list[Proposal]) -> dict[str, Any]:
    """The proposals as fields of a `RunConfig`; whatever else the run's components have stays."""
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
