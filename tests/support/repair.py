"""The gates of repair in plain Python: slow, in exact fractions, and importing nothing of the service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

from memr_client.schemas import Repair
from support.answers import PlainAnswers

LAST = 15


def plain_favourite(seen: PlainAnswers, rule: Repair, key: bytes, step: int | None) -> str | None:
    """The answer that takes the place of a prompt's reference in a request of this step; None: none does."""
    if (prompt := seen.prompts.get(key)) is None:
        return None
    visits = [answers for _, answers in prompt.visits]
    if visits and not seen.begins(prompt, step):
        visits.pop()
    visits = visits[-LAST:]
    if len(visits) < rule.visits or prompt.reference is None:
        return None
    modes = [most(answers) for answers in visits]
    answer = modes[-1]
    if answer is None or answer == prompt.reference or most(modes) != answer:
        return None
    if (answer, True) in prompt.judged:
        return None
    said = [one for answers in visits for one in answers]
    share = {one: Fraction(said.count(one), len(said)) for one in said if one is not None}
    if share[answer] < exact(rule.share):
        return None
    if rule.margin is not None:
        others = [value for one, value in share.items() if one != answer]
        if share[answer] - max(others, default=Fraction(0)) < exact(rule.margin):
            return None
    if rule.trend is not None:
        leads = [max(Counter(filter(None, one)).values(), default=0) * Fraction(1, len(one)) for one in visits]
        if len(leads) < 2 or least_squares(leads) < exact(rule.trend):
            return None
    return answer


def most(values: Iterable[str | None]) -> str | None:
    """The value that is more frequent than every other; None if there is none."""
    counts = Counter(one for one in values if one is not None).most_common(2)
    return counts[0][0] if counts and (len(counts) == 1 or counts[0][1] > counts[1][1]) else None


def least_squares(values: list[Fraction]) -> Fraction:
    places = range(len(values))
    middle, mean = Fraction(sum(places), len(values)), sum(values) / len(values)
    above = sum((place - middle) * (value - mean) for place, value in zip(places, values, strict=True))
    return Fraction(above / sum((place - middle) ** 2 for place in places))


def exact(number: float) -> Fraction:
    return Fraction(str(number))
