"""A plan: the candidates whose groups are most likely to teach something, chosen by pure functions.

Equal arguments give equal plans on every processor: scores are rounded, and ties go by a hash of seed, step and prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from memr_client.schemas import Objective

from memr_service.planning.beta import fit, no_spread
from memr_service.planning.candidates import ABSENT, Candidates
from memr_service.state.pass_rates import RECENT, ROW, PassRates

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


@dataclass(frozen=True)
class Picks:
    """The chosen candidates by number (n,), the best first, with their Beta distributions and probability of spread."""

    numbers: np.ndarray
    a: np.ndarray
    b: np.ndarray
    spread: np.ndarray
    visits: np.ndarray
    seen: np.ndarray
    solved: int
    impossible: int


def known_after(rates: PassRates, candidates: Candidates, position: int) -> Known:
    """What pass rates said of candidates after the record at `position`, which they reach."""
    rows = candidates.rows(rates)
    inside = np.flatnonzero(rows != ABSENT)
    mine = np.full(len(candidates), _nothing())
    mine[inside] = rates.used[rows[inside]]
    everything = rates.used[["right", "wrong", "recent"]].copy()
    changed = rates.before(position)
    if changed:
        before = np.array([*changed.values()], ROW)
        places = [rates.row(key) for key in changed]
        lost = before[[place is None for place in places]]
        kept = np.array([place for place in places if place is not None], np.int64)
        # A prompt that was not there yet has no text by which its candidate could be found.
        has_changed = np.zeros(len(rates.used) + 1, bool)  # the last is for ABSENT
        has_changed[kept] = True
        mine[has_changed[rows]] = _nothing()
        numbers = candidates.find(before["key"], before["text"])
        mine[numbers[numbers != ABSENT]] = before[numbers != ABSENT]
        everything[kept] = before[[place is not None for place in places]][["right", "wrong", "recent"]]
        everything = np.concatenate([everything, lost[["right", "wrong", "recent"]]])
    return Known(
        right=mine["right"],
        wrong=mine["wrong"],
        visits=mine["visits"],
        recent=mine["recent"],
        unseen=fit(everything["right"], everything["wrong"]),
        newest=int(everything["recent"][:, 0].max(initial=-1)),
    )


def _nothing() -> np.ndarray:
    """The row of a prompt of which nothing is known (1,)."""
    row = np.zeros(1, ROW)
    row["recent"] = -1
    return row


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
    a, b = _distributions(known, step)
    seen = known.right + known.wrong > 0
    equal = np.full(len(a), no_spread(np.array([known.unseen[0]]), np.array([known.unseen[1]]), group_size)[0])
    equal[seen] = no_spread(a[seen], b[seen], group_size)
    if seen.any():
        score = OBJECTIVES[objective](a, b, equal) * _rested(known.recent, step)
        numbers = _best(np.round(score, DIGITS), _ties(keys, seed, step), n, seen, ~excluded)
    else:
        numbers = _in_turn(_ties(keys, seed, 0), n, step, ~excluded)
    retired = seen & (equal >= RETIRED)
    solved = int(np.count_nonzero(retired & (a > b)))
    return Picks(
        numbers=numbers,
        a=a[numbers],
        b=b[numbers],
        spread=1 - equal[numbers],
        visits=known.visits[numbers],
        seen=seen[numbers],
        solved=solved,
        impossible=int(np.count_nonzero(retired)) - solved,
    )


def _distributions(known: Known, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The Beta distribution of each candidate's pass rate at a step: two arrays (m,)."""
    idle = np.maximum(step - np.maximum(known.recent[:, 0], 0), 0)
    fade = np.ldexp(1.0, -np.minimum(idle // HALF_LIFE, 60).astype(np.int32))
    a, b = known.unseen
    return a + known.right * fade, b + known.wrong * fade


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


def _rested(recent: np.ndarray, step: int) -> np.ndarray:
    """The factor that visits in the last steps leave (m,)."""
    lately = np.zeros(len(recent))
    for visit in range(RECENT):
        lately += (recent[:, visit] >= 0) & (recent[:, visit] >= step - LATELY)
    return np.maximum(1 - LATELY_COSTS * lately, 0)


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
        values = score[numbers]
        limit = np.partition(values, len(values) - n)[len(values) - n]
        above, equal = numbers[values > limit], numbers[values == limit]
        left = n - len(above)
        if left < len(equal):
            equal = equal[np.argpartition(ties[equal], left)[:left]]
        numbers = np.concatenate([above, equal])
    return numbers[np.lexsort((ties[numbers], -score[numbers]))][:n]


def _in_turn(ties: np.ndarray, n: int, step: int, allowed: np.ndarray) -> np.ndarray:
    """n candidates of a shuffle, from where the step's turn begins: each comes once before one comes twice."""
    order = np.argsort(ties, kind="stable")
    order = np.roll(order, -((step * n) % len(order)))
    return np.asarray(order[allowed[order]][:n])


def _ties(keys: np.ndarray, seed: int, step: int) -> np.ndarray:
    """A number for each prompt that depends on seed, step and identity (m,): the finaliser of SplitMix64."""
    salt = (seed * 0x9E3779B97F4A7C15 + step * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    mixed = np.ascontiguousarray(keys[:, :8]).view("<u8")[:, 0] ^ np.uint64(salt)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    ties: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return ties
