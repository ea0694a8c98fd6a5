"""Plans: the probability of spread, the distribution of unseen prompts, and which prompts are picked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memr_service.planning.beta import UNFITTED, fit, no_spread
from memr_service.planning.candidates import Candidates
from memr_service.planning.plan import CLASS, HALF_LIFE, Known, Picks, _largest, choose, known_after
from memr_service.state.pass_rates import KEY_BYTES, RECENT, TEXT_BYTES, PassRates
from memr_service.state.pool import Pool
from scipy.special import betaln


def keys_of(m: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (m, KEY_BYTES)).astype(np.uint8)


def pool_of(keys: np.ndarray) -> Pool:
    return Pool.of([f"p{number}" for number in range(len(keys))], [one.tobytes() for one in keys], [])


def known_of(right: Any, wrong: Any, visits: Any = 0, recent: Any = -1, newest: int = 0) -> Known:
    m = len(right)
    steps = np.full((m, RECENT), -1)
    steps[:, 0] = recent
    return Known(np.array(right, float), np.array(wrong, float), np.broadcast_to(visits, m), steps, UNFITTED, newest)


def picked(known: Known, n: int, **more: Any) -> Picks:
    m = len(known.right)
    given = {"excluded": np.zeros(m, bool), "step": 0, "seed": 0} | more
    return choose(known, keys_of(m), n, given.pop("group_size", 8), **given)


@given(a=st.floats(0.02, 200), b=st.floats(0.02, 200), size=st.integers(2, 64))
def test_no_spread_is_the_closed_form(a: float, b: float, size: int) -> None:
    expected = np.exp(betaln(a + size, b) - betaln(a, b)) + np.exp(betaln(a, b + size) - betaln(a, b))
    assert no_spread(np.array([a]), np.array([b]), size)[0] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_no_spread_of_many_prompts_is_that_of_each() -> None:
    rng = np.random.default_rng(3)
    a, b = 0.3 + rng.integers(0, 9, (2, 20_000)) / 4
    found = no_spread(a, b, 64)
    for number in range(0, 20_000, 777):
        assert found[number] == no_spread(a[[number]], b[[number]], 64)[0]


def test_no_spread_is_the_share_of_equal_groups() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(0.7, 2.0, 200_000)
    right = rng.binomial(8, p)
    seen = np.mean((right == 0) | (right == 8))
    assert no_spread(np.array([0.7]), np.array([2.0]), 8)[0] == pytest.approx(seen, abs=0.004)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (2.0, 6.0), (0.2, 1.0)])
def test_the_distribution_of_prompts_is_found_again(a: float, b: float) -> None:
    rng = np.random.default_rng(0)
    n = rng.integers(8, 24, 20_000)
    right = rng.binomial(n, rng.beta(a, b, len(n)))
    assert fit(right, n - right) == pytest.approx((a, b), rel=0.1)


def test_few_prompts_fit_no_distribution() -> None:
    assert fit(np.ones(31), np.ones(31)) == UNFITTED
    assert fit(np.full(40, 8.0), np.zeros(40))[1] == 0.02


def test_the_prompts_most_likely_to_have_spread_come_first() -> None:
    known = known_of([16, 8, 0, 14, 2], [0, 8, 16, 2, 14], visits=1)
    assert picked(known, 3).numbers.tolist()[0] == 1
    assert set(picked(known, 3).numbers.tolist()) == {1, 3, 4}
    assert (picked(known, 1).solved, picked(known, 1).impossible) == (0, 0)
    far = known_of([160, 8, 0], [0, 8, 160], visits=1)
    assert (picked(far, 1).solved, picked(far, 1).impossible) == (1, 1)


@pytest.mark.parametrize(("objective", "best"), [("spread", 1), ("variance", 1), ("target", 1)])
def test_each_objective_prefers_what_is_neither_solved_nor_impossible(objective: Any, best: int) -> None:
    known = known_of([30, 15, 1], [1, 16, 30], visits=1)
    assert picked(known, 1, objective=objective).numbers.tolist() == [best]


def test_one_pick_in_eight_is_unseen_while_there_are_any() -> None:
    right, wrong = np.full(40, 8.0), np.full(40, 8.0)
    right[30:], wrong[30:] = 0, 0
    picks = picked(known_of(right, wrong, visits=1), 16)
    assert np.count_nonzero(~picks.seen) == 2
    assert np.count_nonzero(~picked(known_of(right, wrong, visits=1), 1).seen) == 1
    assert picked(known_of(right[:30], wrong[:30], visits=1), 16).seen.all()


def test_visits_in_the_last_steps_lower_the_score() -> None:
    known = known_of([8, 7], [8, 9], visits=1, recent=np.array([9, 2]))
    assert picked(known, 1, step=10).numbers.tolist() == [1]
    assert picked(known, 1, step=20).numbers.tolist() == [0]


def test_no_prompt_is_retired_for_ever() -> None:
    known = known_of([64.0] * 3, [0.0] * 3, visits=3, recent=np.array([0, 0, 4 * HALF_LIFE]))
    later = picked(known, 3, step=4 * HALF_LIFE)
    assert later.solved == 1
    assert set(later.numbers[:2].tolist()) == {0, 1}


def test_with_nothing_known_each_comes_once_before_one_comes_twice() -> None:
    known = known_of([0] * 20, [0] * 20)
    order = [number for step in range(5) for number in picked(known, 4, step=step).numbers.tolist()]
    assert sorted(order) == [*range(20)]
    assert order != [*range(20)]
    assert picked(known, 4, step=5).numbers.tolist() == order[:4]
    assert [*picked(known, 20, seed=1).numbers] != order


@given(
    counts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30),
    out=st.sets(st.integers(0, 29), max_size=10),
    n=st.integers(1, 30),
    seed=st.integers(0, 2**63 - 1),
    step=st.integers(0, 2**40),
)
def test_picks_are_distinct_allowed_and_the_same_every_time(
    counts: Any, out: set[int], n: int, seed: int, step: int
) -> None:
    right, wrong = zip(*counts, strict=True)
    excluded = np.isin(np.arange(len(right)), [*out])
    if n > np.count_nonzero(~excluded):
        return
    one, other = (picked(known_of(right, wrong), n, excluded=excluded, seed=seed, step=step) for _ in range(2))
    assert one.numbers.tolist() == other.numbers.tolist()
    assert len(set(one.numbers.tolist())) == n
    assert not excluded[one.numbers].any()


@given(
    history=st.lists(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=8), max_size=20),
    at=st.integers(0, 20),
)
def test_a_plan_as_of_a_position_is_the_plan_of_then(history: Any, at: int) -> None:
    keys = keys_of(10)
    rates, candidates = PassRates(0.5, None), Candidates(pool_of(keys))
    rates.start_from(keys[:3], np.zeros((3, TEXT_BYTES), np.uint8), np.array([1.0, 0, 4]), np.array([1.0, 4, 0]))
    rates.end_record(1)
    then = {1: known_after(rates, candidates, 1)}
    for position, items in enumerate(history, 2):
        named = [keys[number].tobytes() for number, _ in items]
        texts = np.zeros((len(items), TEXT_BYTES), np.uint8)
        rates.count(named, np.array([good for _, good in items], float), texts, position, 0)
        rates.end_record(position)
        then[position] = known_after(rates, candidates, position)
    at = min(max(at, 1), len(history) + 1)
    now = known_after(rates, candidates, at)
    for field in ("right", "wrong", "visits", "recent"):
        np.testing.assert_array_equal(getattr(now, field), getattr(then[at], field))
    assert (now.unseen, now.newest) == (then[at].unseen, then[at].newest)


def test_a_pool_names_its_prompts() -> None:
    pool = pool_of(keys_of(3))
    again = Pool(**pool.arrays())
    assert [again.name(number) for number in range(3)] == ["p0", "p1", "p2"]
    assert pool.digest() == again.digest() != pool_of(keys_of(2)).digest()
    assert Pool.of(["ü", ""], [bytes(16), bytes(16)], []).name(1) == ""


@pytest.mark.parametrize("with_texts", [False, True])
def test_what_was_read_before_changes_nothing_of_what_is_known(with_texts: bool) -> None:
    rng = np.random.default_rng(0)
    keys, texts = keys_of(60), np.random.default_rng(1).integers(1, 256, (60, TEXT_BYTES)).astype(np.uint8)
    pool = pool_of(keys[:50])
    pool = Pool(pool.names, pool.ends, pool.keys, texts[:50]) if with_texts else pool
    rates, asked_often = PassRates(0.5, None), Candidates(pool)
    other_ids = keys_of(5, seed=9)
    rates.start_from(other_ids, texts[:5], np.full(5, 3.0), np.full(5, 1.0))
    rates.end_record(1)
    for position in range(2, 90):
        chosen = rng.choice(60, 6, replace=False)
        outcomes = rng.integers(2, size=6).astype(float)
        rates.count([keys[one].tobytes() for one in chosen], outcomes, texts[chosen], position // 2, position)
        rates.end_record(position)
        if position % 3:
            continue
        for at in (position, max(position - 5, 1)):
            often, first = known_after(rates, asked_often, at), known_after(rates, Candidates(pool), at)
            for name, value in vars(first).items():
                assert np.array_equal(getattr(often, name), value), (position, at, name)


@pytest.mark.parametrize("identity_first", [False, True])
@pytest.mark.parametrize("asked_between", [False, True])
def test_of_two_prompts_that_match_one_of_the_pool_the_one_with_its_identity_counts(
    identity_first: bool, asked_between: bool
) -> None:
    keys, texts = keys_of(2), np.ones((1, TEXT_BYTES), np.uint8)
    pool = Pool(pool_of(keys[:1]).names, pool_of(keys[:1]).ends, keys[:1], texts)
    rates, candidates = PassRates(0.5, None), Candidates(pool)
    same, other = (keys[0], 1.0), (keys[1], 0.0)
    for position, (key, outcome) in enumerate([same, other] if identity_first else [other, same]):
        rates.count([key.tobytes()] * 4, np.full(4, outcome), np.repeat(texts, 4, axis=0), None, position + 1)
        rates.end_record(position + 1)
        if asked_between:
            candidates.columns(rates)
    assert candidates.columns(rates).right.tolist() == [4.0]
    assert candidates.columns_after(rates, 1).right.tolist() == [4.0 if identity_first else 0.0]
    assert candidates.columns_after(rates, 1).wrong.tolist() == [0.0 if identity_first else 4.0]


@pytest.mark.parametrize("kinds", [1, 3, 2000])
@pytest.mark.parametrize("m", [5, CLASS * 3, CLASS * 9 + 7])
def test_the_largest_values_are_found_among_maxima_of_classes(m: int, kinds: int) -> None:
    rng = np.random.default_rng(m + kinds)
    values = np.where(rng.random(m) < 0.9, rng.integers(kinds, size=m) / kinds, -np.inf)
    for n in range(1, 6):
        assert _largest(values, n) == np.sort(values)[-n]
