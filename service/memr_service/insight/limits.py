"""The guards and bounds of a component, each with its limit and what it found of one item."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from memr_client.schemas import Component, Limit, RunConfig

from memr_service.memory.cosine import rowwise_cosines
from memr_service.rewards import guards
from memr_service.rewards.shaping import least
from memr_service.rewards.zeros import LIMIT_OF
from memr_service.state.record import Batch

_SIDES = {"correct": "above", "incorrect": "at most"}


def limits(
    config: RunConfig,
    options: Component,
    batch: Batch,
    item: int,
    *,
    step: int,
    rejected: list[str],
    scaled: float,
    nearest: float | None,
) -> Iterator[Limit]:
    """The guards and bounds that are on.

    Args:
        step: what `anneal` goes by.
        rejected: reasons of the guards that rejected the item.
        scaled: the component's scaled value.
        nearest: cosine of the nearest prompt that the item read, for `neighbour_floor`.
    """
    reasons = {limit: reason for reason, limit in LIMIT_OF.items()}
    for name, limit, value, says in _measured(config, options, batch, item, nearest):
        applied = reasons[name] in rejected
        exempt = ", from which it is exempt" if not applied and _breaks(name, value, limit) else ""
        yield Limit(name=name, limit=limit, value=value, applied=applied, says=f"{says}{exempt}")
    if not rejected:
        yield from _bounds(config, options, batch, item, step, scaled)


def _measured(
    config: RunConfig, options: Component, batch: Batch, item: int, nearest: float | None
) -> Iterator[tuple[str, float | str, float | None, str]]:
    """(guard, limit, value, both in words) of the guards that may reject an item."""
    on, outcome = options.guards, float(batch.outcomes[item])
    if (floor := on.topic_floor) is not None:
        cosine = float(rowwise_cosines(batch.prompts[batch.prompt_of[[item]]], batch.completions[[item]])[0])
        yield "topic_floor", floor, cosine, f"cosine to the prompt {number(cosine)}, at least {number(floor)}"
    if (floor := on.neighbour_floor) is not None:
        said = "nothing was read" if nearest is None else f"cosine of the nearest prompt read {number(nearest)}"
        yield "neighbour_floor", floor, nearest, f"{said}, at least {number(floor)}"
    chars = int(batch.lengths[item])
    if (fewest := on.min_chars) is not None:
        yield "min_chars", fewest, chars, f"{chars} characters, at least {fewest}"
    if (most := on.max_chars) is not None:
        yield "max_chars", most, chars, f"{chars} characters, at most {most}"
    for name, limit, values, what in (
        ("max_repetition", on.max_repetition, batch.repeated, "share of itself that it repeats"),
        ("max_copied", on.max_copied, batch.copied, "share copied from the prompt"),
        ("max_foreign", on.max_foreign, batch.foreign, "bytes in a row unlike its prompt and siblings"),
    ):
        if limit is not None:
            value = None if values is None else float(values[item])
            yield name, limit, value, f"{what} {number(value)}, at most {number(limit)}"
    if on.drop_truncated:
        cut = None if batch.truncated is None else float(batch.truncated[item])
        said = "not told whether" if cut is None else "" if cut else "not"
        yield "drop_truncated", "not truncated", cut, f"{said} cut at the trainer's length limit".strip()
    if (side := on.only_if) is not None:
        yield "only_if", side, outcome, _of_side(config, side, outcome)
    if on.mixed_groups_only:
        siblings = batch.outcomes[batch.group == batch.group[item]]
        right = int(np.count_nonzero(siblings > config.success_threshold))
        yield "mixed_groups_only", "mixed", right, f"{right} of the group's {len(siblings)} are right"


def _bounds(
    config: RunConfig, options: Component, batch: Batch, item: int, step: int, scaled: float
) -> Iterator[Limit]:
    """The limits on what an item earns that was not rejected, in the order in which they apply."""
    on, outcome = options.guards, float(batch.outcomes[item])
    weighted = options.weight * scaled
    if (side := on.earned_by) is not None:
        other = bool(guards.only_if(side, batch.outcomes[[item]] > config.success_threshold)[0])
        yield Limit(name="earned_by", limit=side, value=outcome, applied=other, says=_of_side(config, side, outcome))
        weighted = options.weight * least(options) if other else weighted
    if on.anneal is not None:
        factor = guards.anneal(step, *on.anneal)
        says = f"step {step} of {on.anneal[0]} to {on.anneal[1]} leaves a share of {number(factor)}"
        limit = f"{on.anneal[0]} to {on.anneal[1]}"
        yield Limit(name="anneal", limit=limit, value=step, applied=factor < 1, says=says)
        weighted *= factor
    if on.cap is not None:
        most = on.cap * abs(outcome)
        says = f"at most {number(on.cap)} × the outcome's size, which is {number(most)}"
        yield Limit(name="cap", limit=on.cap, value=abs(weighted), applied=abs(weighted) > most, says=says)


def _breaks(name: str, value: float | None, limit: float | str) -> bool:
    if value is None or isinstance(limit, str):
        return False
    return value < limit if name in ("topic_floor", "neighbour_floor", "min_chars") else value > limit


def _of_side(config: RunConfig, side: str, outcome: float) -> str:
    bound = f"{_SIDES[side]} success_threshold {number(config.success_threshold)}"
    return f"outcome {number(outcome)}; {side} is {bound}"


def number(value: float | None) -> str:
    """A number with few digits, or that it is not known.

    >>> number(0.65432), number(3.0), number(None)
    ('0.6543', '3', 'unknown')
    """
    if value is None:
        return "unknown"
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e12 else f"{value + 0.0:.4g}"
