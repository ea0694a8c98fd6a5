"""Repair: what counts in place of the outcomes of prompts whose references the answers of earlier visits contradict.

It is decided from the state before a request, and never from the request's own answers, so all parts of a visit are
treated alike. The record keeps both: the outcomes that were sent are inputs, those that count are effects. A replay
decides again from the inputs, so it reproduces a run bit for bit, and says what other gates would have done.

The rule contains that of OLR (arXiv 2604.03993) as one setting, but for one thing: OLR also counts the group that is
about to be rewarded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from memr_client.schemas import Repair

from memr_service.state.answers import Given, Prompt, Visit
from memr_service.state.open_group import Overruled
from memr_service.state.record import Batch, Repairs
from memr_service.state.state import State

MASKED = "masked"
"""The reason that is reported for items from which nothing is learned."""
NEUTRAL = 0.0
"""The outcome of such items. It is the same for all, so their groups have no advantage, and where a trainer drops
groups without spread by their outcomes, as OpenRLHF does, it drops them."""


def repairs(state: State, batch: Batch, *, write: bool) -> Repairs | None:
    """The outcomes that count for a batch; None if the run does not repair.

    Args:
        write: whether the batch is to be stored. An evaluation is judged by the outcomes that were sent.
    """
    rule = state.config.repair
    if rule is None:
        return None
    found: list[Overruled | None] = [None] * len(batch)
    if not write:
        return instead(batch, rule, found)
    items: dict[bytes, list[int]] = {}
    for item, key in enumerate(batch.keys):
        items.setdefault(key, []).append(item)
    for some in items.values():
        overruled = of_prompt(state, batch, some)
        for item in some:
            found[item] = overruled
    return instead(batch, rule, found)


def of_prompt(state: State, batch: Batch, items: Sequence[int]) -> Overruled | None:
    """What takes the place of a prompt's reference; None if the reference stands.

    Args:
        items: the prompt's items in the batch, at least one.
    """
    rule, first = state.config.repair, items[0]
    assert rule is not None
    if state.answers is None or (known := state.answers.before(batch.keys[first], batch.step)) is None:
        return None
    prompt, visits = known
    sent = None if batch.references is None else [batch.references[item] for item in items]
    newest = next((one for one in reversed(sent or []) if one is not None), prompt.reference)
    if newest != prompt.reference:  # it has been corrected
        return None
    text = b"" if batch.texts is None else batch.texts[first].tobytes()
    if state.decisions.about(batch.keys[first], text) is not None:
        return None
    return overruled(rule, prompt, visits)


def overruled(rule: Repair, prompt: Prompt, visits: Sequence[Visit]) -> Overruled | None:
    """The favoured answer of a prompt, if it is not the reference and passes all gates.

    Args:
        visits: the last ones before the visit that is about to be rewarded, oldest first, at least one.
    """
    reference, answer = prompt.reference, favoured(visits)
    if reference is None or answer is None or answer == reference or len(visits) < rule.visits:
        return None
    if any(one.right for one in prompt.tallies if one.answer == answer):  # it says the same in another form
        return None
    counts, completions = Counter[str](), sum(visit.size for visit in visits)
    for visit in visits:
        counts.update(visit.counts)
    share = counts[answer] / completions
    margin = (counts[answer] - max((count for one, count in counts.items() if one != answer), default=0)) / completions
    trend = slope([max(visit.counts.values(), default=0) / visit.size for visit in visits])
    if share < rule.share or (rule.margin is not None and margin < rule.margin):
        return None
    if rule.trend is not None and (trend is None or trend < rule.trend):
        return None
    if rule.prior_run_agrees and answer not in said_before(prompt):
        return None
    said = f"{answer!r} in {share:.0%} and the reference {reference!r} in {counts[reference] / completions:.0%} of "
    said += f"{completions} completions, {len(visits)} visits"
    return Overruled(answer, said if trend is None else f"{said}, trend {trend:+.3f}")


def favoured(visits: Sequence[Visit]) -> str | None:
    """The answer that was the most frequent one of the newest visit, and of more visits than any other; None if there
    is no such answer."""
    modes = [mode(visit.counts) for visit in visits]
    return modes[-1] if mode(Counter(one for one in modes if one is not None)) == modes[-1] else None


def mode(counts: Counter[str] | dict[str, int]) -> str | None:
    """The most frequent one; None if there is none, or several are equally frequent."""
    most = max(counts.values(), default=0)
    found = [one for one, count in counts.items() if count == most]
    return found[0] if len(found) == 1 else None


def slope(shares: Sequence[float]) -> float | None:
    """Least-squares slope over 0, 1, ...; None of fewer than two. In plain floats, which are equal on all machines."""
    n = len(shares)
    if n < 2:
        return None
    middle = (n - 1) / 2
    return sum((place - middle) * share for place, share in enumerate(shares)) / (n * (n * n - 1) / 12)


def said_before(prompt: Prompt) -> set[str]:
    """The most frequent answer of each earlier run."""
    counts: dict[int, dict[str, int]] = {}
    for one in map(Given._make, prompt.earlier):
        counts.setdefault(one.run, {})[one.answer] = one.times
    return {said for said in map(mode, counts.values()) if said is not None}


def instead(batch: Batch, rule: Repair, found: Iterable[Overruled | None]) -> Repairs:
    """The outcomes that count.

    Args:
        found: what takes the place of the reference of each item's prompt (n).
    """
    outcomes, answers = batch.outcomes.copy(), batch.answers
    masks = rule.mode == "mask"
    favourites: list[str | None] = [None] * len(batch)
    why: list[str | None] = [None] * len(batch)
    for item, one in enumerate(found):
        if one is None or (answers is None and not masks):  # without answers nothing can be judged
            continue
        outcomes[item] = NEUTRAL if masks or answers is None else float(answers[item] == one.answer)
        favourites[item], why[item] = one
    return Repairs(outcomes, favourites, why, masks)
