"""A plan: the candidates whose groups are most likely to teach something, chosen by pure functions.

Equal arguments give equal plans on every processor: scores are rounded, and ties go by a hash of seed, step and prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from memr_client.schemas import Objective

from memr_service.planning.beta import fit, no_spread
from memr_service.planning.candidates import Candidates
from memr_service.state.pass_rates import RECENT, PassRates

RETIRED = 0.9
"""A prompt is retired while its outcomes are all equal with this probability or more."""
HALF_LIFE = 200
"""What is known of a prompt counts half after so many steps without a visit, so that no prompt is retired for ever."""
LATELY = 5
"""Steps in which a visit lowers a prompt's score."""
LATELY_COSTS = 0.25
"""How much of a prompt's score each visit in these steps takes."""
UNSEEN_SHARE = 8
"""One pick in so many goes to a prompt of which nothing is known, while there is one."""
CLASS = 256
"""Values of which the maximum is taken first, to find the largest of all."""
LAST_STEP = 2**63 - 1
"""The largest step."""
DIGITS = 9
"""Decimals of a score."""


@dataclass(frozen=True)
class Known:
    """What a run knew of m candidates after some record. `recent` (m, RECENT): the steps of the last visits."""

    right: np.ndarray
    wrong: np.ndarray
    visits: np.ndarray
    recent: np.ndarray
    unseen: tuple[float, float]
    """The Beta distribution of a prompt of which nothing is known."""
    newest: int
    """The newest step of any visit; -1 if there was none."""

    @property
    def next_step(self) -> int:
        """The step after the newest, as far as steps are counted."""
        return min(self.newest + 1, LAST_STEP)


@dataclass(frozen=True)
class Foresight:
    """What is foreseen of a group of each of m candidates: the Beta distribution of the pass rate, and `equal`, the
    probability that all outcomes are equal. `seen`: whether anything is known of the candidate itself."""

    a: np.ndarray
    b: np.ndarray
    equal: np.ndarray
    seen: np.ndarray

    @property
    def retired(self) -> np.ndarray:
        """Candidates whose outcomes are all equal with probability RETIRED or more (m,) bool."""
        return self.seen & (self.equal >= RETIRED)

    @property
    def solved(self) -> np.ndarray:
        """Retired candidates that are mostly right (m,) bool. The other retired ones are impossible."""
        return self.retired & (self.a > self.b)


@dataclass(frozen=True)
class Picks:
    """The chosen candidates by number (n,), the best first, with their Beta distributions and probability of spread."""

    numbers: np.ndarray
    a: np.ndarray
    b: np.ndarray
    spread: np.ndarray
    visits: np.ndarray
    seen: np.ndarray
    known: int
    """Of how many candidates that are not excluded something is known."""
    solved: int
    impossible: int


def known_after(rates: PassRates, candidates: Candidates, position: int) -> Known:
    """What pass rates said of candidates after the record at `position`, which they reach."""
    columns = candidates.columns_after(rates, position)
    return Known(
        right=columns.right,
        wrong=columns.wrong,
        visits=columns.visits,
        recent=columns.recent,
        unseen=fit(columns.all_right, columns.all_wrong),
        newest=int(columns.all_newest.max(initial=-1)),
    )


def choose(
    known: Known,
    keys: np.ndarray,
    n: int,
    group_size: int,
    *,
    excluded: np.ndarray,
    step: int,
    seed: int,
    objective: Objective = "spread",
) -> Picks:
    """The n best of m candidates, of which at least n are not excluded.

    Args:
        keys: identities (m, 16). excluded: (m,) bool. step: the step that is planned.
    """
    found = foresee(known, group_size, step)
    a, b, equal, seen = found.a, found.b, found.equal, found.seen
    if seen.any():
        score = OBJECTIVES[objective](a, b, equal)
        _rest(score, known.recent, step)
        numbers = _best(np.round(score, DIGITS), _ties(keys, seed, step), n, seen, ~excluded)
    else:
        numbers = _in_turn(_ties(keys, seed, 0), n, step, ~excluded)
    retired = found.retired
    solved = int(np.count_nonzero(retired & (a > b)))
    return Picks(
        numbers=numbers,
        a=a[numbers],
        b=b[numbers],
        spread=1 - equal[numbers],
        visits=known.visits[numbers],
        seen=seen[numbers],
        known=int(np.count_nonzero(seen & ~excluded)),
        solved=solved,
        impossible=int(np.count_nonzero(retired)) - solved,
    )


def foresee(known: Known, group_size: int, step: int) -> Foresight:
    """What is foreseen of a group of each candidate at a step."""
    a, b = _distributions(known, step)
    seen = known.right + known.wrong > 0
    equal = np.full(len(a), no_spread(np.array([known.unseen[0]]), np.array([known.unseen[1]]), group_size)[0])
    equal[seen] = no_spread(a[seen], b[seen], group_size)
    return Foresight(a, b, equal, seen)


def _distributions(known: Known, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The Beta distribution of each candidate's pass rate at a step: two arrays (m,)."""
    a, b = known.unseen
    found = a + known.right, b + known.wrong
    newest = np.maximum(known.recent[:, 0], 0)
    faded = np.flatnonzero(newest <= step - HALF_LIFE)
    if len(faded):
        fade = np.ldexp(1.0, -np.minimum((step - newest[faded]) // HALF_LIFE, 60).astype(np.int32))
        found[0][faded] = a + known.right[faded] * fade
        found[1][faded] = b + known.wrong[faded] * fade
    return found


def _spread(a: np.ndarray, b: np.ndarray, equal: np.ndarray) -> np.ndarray:
    return np.asarray(1 - equal)


def _variance(a: np.ndarray, b: np.ndarray, equal: np.ndarray) -> np.ndarray:
    return np.asarray(4 * a * b / ((a + b) * (a + b + 1)))


def _target(a: np.ndarray, b: np.ndarray, equal: np.ndarray) -> np.ndarray:
    return np.asarray(1 - np.abs(2 * a / (a + b) - 1))


OBJECTIVES: dict[Objective, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "spread": _spread,
    "variance": _variance,
    "target": _target,
}
"""What a plan makes large: from a, b and the probability of no spread (m,), a score from 0 to 1 (m,)."""


def _rest(score: np.ndarray, recent: np.ndarray, step: int) -> None:
    """Lower the score (m,) of candidates with visits in the last steps: few of them, as a rule."""
    visited = np.flatnonzero((recent >= max(step - LATELY, 0)).any(axis=1))
    lately = np.count_nonzero(recent[visited] >= max(step - LATELY, 0), axis=1)
    score[visited] *= np.maximum(1 - LATELY_COSTS * np.arange(RECENT + 1), 0)[lately]


def _best(score: np.ndarray, ties: np.ndarray, n: int, seen: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """The n best candidates, one in UNSEEN_SHARE of them unseen while there are any."""
    chosen = _top(score, ties, n, allowed)
    missing = -(-n // UNSEEN_SHARE) - int(np.count_nonzero(~seen[chosen]))
    if missing > 0:
        left = allowed & ~seen
        left[chosen] = False
        added = _top(score, ties, min(missing, int(np.count_nonzero(left))), left)
        given_up = np.flatnonzero(seen[chosen])[::-1][: len(added)]
        chosen = np.delete(chosen, given_up)
        chosen = np.concatenate([chosen, added])
        chosen = chosen[np.lexsort((ties[chosen], -score[chosen]))]
    return chosen


def _top(score: np.ndarray, ties: np.ndarray, n: int, allowed: np.ndarray) -> np.ndarray:
    """The n allowed candidates with the largest score, the best first; of equal ones, those with the least tie."""
    numbers = np.flatnonzero(allowed)
    if n < len(numbers):
        values = np.where(allowed, score, -np.inf)
        limit = _largest(values, n)
        above, equal = np.flatnonzero(values > limit), np.flatnonzero(values == limit)
        left = n - len(above)
        if left < len(equal):
            equal = equal[np.argpartition(ties[equal], left)[:left]]
        numbers = np.concatenate([above, equal])
    return numbers[np.lexsort((ties[numbers], -score[numbers]))][:n]


def _largest(values: np.ndarray, n: int) -> float:
    """The n-th largest of m values: at least the n-th largest maximum of classes of them, so few have to be ordered."""
    classes = values[: len(values) // CLASS * CLASS].reshape(CLASS, -1).max(axis=0)
    if len(classes) > n:
        least = np.partition(classes, len(classes) - n)[len(classes) - n]
        if least == values.max():
            return float(least)
        values = values[values >= least]
    return float(np.partition(values, len(values) - n)[len(values) - n])


def _in_turn(ties: np.ndarray, n: int, step: int, allowed: np.ndarray) -> np.ndarray:
    """n candidates of a shuffle, from where the step's turn begins: each comes once before one comes twice."""
    order = np.argsort(ties, kind="stable")
    order = np.roll(order, -((step * n) % len(order)))
    return np.asarray(order[allowed[order]][:n])


def _ties(keys: np.ndarray, seed: int, step: int) -> np.ndarray:
    """A number for each prompt that depends on seed, step and identity (m,): the finaliser of SplitMix64."""
    salt = (seed * 0x9E3779B97F4A7C15 + step * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    mixed = np.ascontiguousarray(keys).view("<u8")[:, 0] ^ np.uint64(salt)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    ties: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return ties
