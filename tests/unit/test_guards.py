"""Guards: what they accept, what they reject, and how they bound and scale a bonus."""

from __future__ import annotations

import math
import random
import string
import time
from typing import Any

import numpy as np
import pytest
from memr_client.schemas import RunConfig
from memr_service.engine.text_thread import at_once
from memr_service.rewards import guards
from memr_service.rewards.guards import (
    REASONS,
    anneal,
    cap,
    copied,
    copied_share,
    equal_outcomes,
    foreign,
    foreign_stretches,
    mixed_groups_only,
    names_answer,
    needs,
    neighbour_floor,
    only_if,
    overlap,
    rank,
    repeated_share,
    repetition,
    short_answer,
    spread_cap,
    spread_limit,
    tells_sent_apart,
    too_long,
    too_short,
    topic_floor,
    trimmed,
    truncated,
)
from memr_service.state.window import scale
from support import plain_components as plain
from support.groups import requests
from support.real_data import solutions

NONE = np.empty(0)
NO_GROUP = np.empty(0, np.int64)


def test_every_rejecting_guard_has_a_reason_of_its_own() -> None:
    assert all(callable(getattr(guards, name)) for name in REASONS)
    assert len(set(REASONS.values())) == len(REASONS)


@pytest.mark.parametrize(
    ("given", "measures"),
    [
        ({}, set()),
        ({"components": {"exploit": {"guards": {"topic_floor": 0.2, "min_chars": 5}}}}, set()),
        ({"components": {"exploit": 1.0, "explore": {"guards": {"max_repetition": 0.5}}}}, {"repeated"}),
        ({"components": {"exploit": {"guards": {"max_copied": 0.0, "max_foreign": 0}}}}, {"copied", "foreign"}),
        ({"memory": {"gates": {"max_repetition": 0.5, "max_foreign": 200}}}, {"repeated", "foreign"}),
        ({"components": {"exploit": {"guards": {"answer_chars": 20}}}}, {"names_answer"}),
    ],
)
def test_texts_are_measured_for_the_guards_and_write_gates_that_are_on(given: dict[str, Any], measures: set) -> None:
    assert needs(RunConfig(**given)) == measures


def test_embeddings_that_were_sent_are_told_apart_for_a_floor_that_is_only_for_encoded_ones() -> None:
    for guards_of, apart in (
        ({"topic_floor": 0.5}, False),
        ({"topic_for": "encoded"}, False),
        ({"topic_floor": 0.5, "topic_for": "encoded"}, True),
    ):
        assert tells_sent_apart(RunConfig(components={"exploit": {"guards": guards_of}})) is apart
        assert tells_sent_apart(RunConfig(memory={"gates": guards_of})) is apart


def test_floors_reject_what_lies_below_them_and_nothing_undefined() -> None:
    cosines = np.array([0.49, 0.5, 0.51, math.nan])
    assert topic_floor(cosines, 0.5).tolist() == [True, False, False, False]
    assert neighbour_floor(cosines, 0.5).tolist() == [True, False, False, False]


def test_limits_reject_what_lies_beyond_them() -> None:
    characters = np.array([9, 10, 20, 21])
    assert too_short(characters, 10).tolist() == [True, False, False, False]
    assert too_long(characters, 20).tolist() == [False, False, False, True]
    assert repetition(np.array([0.5, 0.51]), 0.5).tolist() == [False, True]
    assert truncated(np.array([0, 1])).tolist() == [False, True]
    assert copied(np.array([0.7, 0.71]), 0.7).tolist() == [False, True]
    assert foreign(np.array([225, 226]), 225).tolist() == [False, True]


def test_a_component_can_be_for_one_side_only() -> None:
    right = np.array([True, False])
    assert only_if("correct", right).tolist() == [False, True]
    assert only_if("incorrect", right).tolist() == [True, False]


def test_groups_with_one_outcome_are_not_mixed() -> None:
    outcome, group = np.array([1, 0, 1, 1, 0, 0.5, 1.0]), np.array([0, 0, 1, 1, 2, 2, 3])
    assert mixed_groups_only(outcome, group, 0.5).tolist() == [False, False, True, True, True, True, True]


def test_a_cap_leaves_no_bonus_where_the_outcome_is_zero() -> None:
    capped = cap(np.array([5.0, -5.0, 0.1, 5.0]), np.array([1.0, -1.0, 1.0, 0.0]), 0.5)
    assert capped.tolist() == [0.5, -0.5, 0.1, 0.0]


def test_a_groups_bonuses_never_spread_more_than_their_share_of_its_outcomes_spread() -> None:
    for request in requests(500):
        bonus = request.column()
        shrunk = spread_cap(bonus, request.outcome, request.group, 0.5)
        for number in range(5):
            own = request.group == number
            assert np.ptp(shrunk[own]) <= 0.5 * np.ptp(request.outcome[own]) + 1e-12
            assert shrunk[own].mean() == pytest.approx(bonus[own].mean())
            if np.ptp(request.outcome[own]):
                assert np.argsort(shrunk[own]).tolist() == np.argsort(bonus[own]).tolist()


def test_no_capped_bonus_reverses_a_verdict() -> None:
    for request in requests(500):
        verdict = request.right.astype(np.float64)
        total = verdict + spread_cap(10 * request.column(), verdict, request.group, 0.5)
        for number in range(5):
            right, wrong = (total[(request.group == number) & side] for side in (request.right, ~request.right))
            assert right.min(initial=np.inf) >= wrong.max(initial=-np.inf) + 0.49 or not len(right) or not len(wrong)


@pytest.mark.hypothesis
def test_with_a_threshold_no_wrong_completion_is_paid_more_than_a_right_one() -> None:
    group, checked = np.zeros(4, int), 0
    for request in requests():
        bonus = request.column()[:4]
        for outcome in ([0.6, 0.4, 0.0, 0.0], [1.0, 0.8, 0.4, 0.2], [0.55, 0.5, 0.0, 0.0], [0.9, 0.51, 0.49, 0.0]):
            if len(bonus) == 4:
                graded, right = np.array(outcome), np.array(outcome) > 0.5
                held = spread_cap(5 * bonus, graded, group, 0.5, 0.5)
                gap = graded[right].min() - graded[~right].max()
                assert np.ptp(held) <= 0.5 * gap + 1e-9
                assert (graded + held)[right].min() > (graded + held)[~right].max()
                checked += 1
    assert checked
    bonus, lower = np.array([1.0, 0.0]), np.array([0.4, 0.0])
    assert spread_cap(bonus, lower, group[:2], 0.5, 0.5).tolist() == spread_cap(bonus, lower, group[:2], 0.5).tolist()


def test_a_group_of_equal_outcomes_gets_no_spread_and_a_small_bonus_is_not_changed() -> None:
    bonus, group = np.array([0.0, 1.0, 0.1, 0.2]), np.array([0, 0, 1, 1])
    assert spread_cap(bonus, np.array([1.0, 1.0, 0.0, 1.0]), group, 0.5).tolist() == [0.5, 0.5, 0.1, 0.2]
    assert spread_cap(bonus, np.zeros(4), np.arange(4), 0.5).tolist() == bonus.tolist()


def test_a_group_of_equal_outcomes_spreads_by_at_most_the_limit_and_keeps_its_order() -> None:
    for request in requests(500):
        bonus = request.column()
        held = spread_limit(bonus, request.group, 0.25)
        for number in range(5):
            own = request.group == number
            assert np.ptp(held[own]) <= 0.25 + 1e-12
            assert (np.abs(held[own]) <= np.abs(bonus[own])).all()
            assert np.argsort(held[own]).tolist() == np.argsort(bonus[own]).tolist()
            if np.ptp(bonus[own]) <= 0.25:
                assert held[own].tolist() == bonus[own].tolist()
    assert spread_limit(np.array([0.1, 0.6, 0.0, 0.2]), np.array([0, 0, 1, 1]), 0.25).tolist() == [0.05, 0.3, 0, 0.2]


def test_where_no_spread_is_allowed_siblings_get_nothing_and_a_completion_without_siblings_keeps_its_own() -> None:
    bonus, group = np.array([0.1, 0.4, 0.2, 0.3, 0.3]), np.array([0, 0, 1, 2, 2])
    assert spread_limit(bonus, group, 0.0).tolist() == [0, 0, 0.2, 0, 0]


def test_outcomes_are_equal_if_rounding_alone_separates_them() -> None:
    outcome, group = np.array([1, 1 + 1e-9, 0.5, 0.5001, 0.0]), np.array([0, 0, 1, 1, 2])
    assert equal_outcomes(outcome, group).tolist() == [True, True, False, False, True]


def test_annealing_falls_from_one_to_zero() -> None:
    assert [anneal(step, 10, 20) for step in (0, 10, 15, 20, 99)] == [1, 1, 0.5, 0, 0]


def test_five_junk_values_in_a_hundred_do_not_flatten_the_others() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(0.11, 0.03, size=95)
    window = rng.permutation(np.concatenate([real, np.full(5, 0.96)]))
    clean, spoilt = trimmed(real, real), trimmed(window, real)
    assert spoilt.std() > 0.9 * clean.std()
    assert rank(window, real).std() > 0.9 * rank(real, real).std()
    assert scale(window, real, 1000, "request").std() < 0.3 * clean.std()


def test_with_tails_no_two_values_tie_and_every_value_stays_above_what_a_rejected_one_gets() -> None:
    rng = np.random.default_rng(2)
    window = rng.normal(size=100)
    raw = np.sort(np.concatenate([window, [-1e6, -9.0, 9.0, 1e6]]))
    scaled = trimmed(window, raw, 0.1)
    assert (np.diff(scaled) > 0).all()
    assert scaled[0] > 0
    assert scaled[-1] < 1
    inside = trimmed(window, raw)
    between = (inside > 0) & (inside < 1)
    np.testing.assert_allclose(scaled[between], 0.1 + 0.8 * inside[between], rtol=0, atol=1e-12)
    assert trimmed(window, np.array([math.nan]), 0.1).tolist() == [0]
    assert trimmed(np.ones(50), np.ones(2), 0.1).tolist() == [0, 0]


def test_trimming_fewer_than_twenty_values_equals_min_max() -> None:
    window = np.random.default_rng(1).normal(size=19)
    np.testing.assert_array_equal(trimmed(window, window), scale(NONE, window, 19, "request"))


def test_values_outside_the_bounds_are_cut_and_undefined_or_flat_ones_get_zero() -> None:
    assert trimmed(np.array([0.0, 1.0]), np.array([-9.0, 0.5, 9.0, math.nan])) == pytest.approx([0, 0.5, 1, 0])
    assert rank(np.array([0.0, 1.0, 1.0, 2.0]), np.array([-9.0, 1.0, 9.0, math.nan])).tolist() == [0, 0.5, 1, 0]
    for scaled in (trimmed, rank):
        assert scaled(np.full(30, 0.3) + 1e-8 * np.arange(30), np.array([0.3, 9.0])).tolist() == [0, 0]
        assert scaled(NONE, np.array([0.3, math.nan])).tolist() == [0, 0]


def test_guards_accept_a_request_without_items() -> None:
    assert cap(NONE, NONE, 0.5).tolist() == spread_cap(NONE, NONE, NO_GROUP, 0.5).tolist() == []
    assert mixed_groups_only(NONE, NO_GROUP, 0.5).tolist() == topic_floor(NONE, 0.5).tolist() == []
    assert trimmed(NONE, NONE).tolist() == rank(np.arange(3.0), NONE).tolist() == []


def test_arguments_are_not_changed() -> None:
    request = next(requests())
    bonus, raw, window = request.column(), request.column(0.5), request.column()
    for one in (bonus, raw, window, request.outcome, request.group):
        one.flags.writeable = False
    cap(bonus, request.outcome, 0.5)
    spread_cap(bonus, request.outcome, request.group, 0.5)
    mixed_groups_only(request.outcome, request.group, 0.5)
    trimmed(window, raw)
    rank(window, raw)


def test_repetition_is_detected_in_any_script_with_and_without_spaces() -> None:
    sentence = "So the answer must be forty two, as we have seen. "
    for text in (sentence * 10, "0." + "3" * 400, "\u7b54\u6848\u662f\u4e00\u767e\u4e8c\u5341\u516b" * 10):
        assert repeated_share(text) > 0.85
    assert repeated_share(sentence) == repeated_share("") == 0
    assert repeated_share(sentence * 3) == pytest.approx(2 / 3, abs=0.04)


SPEED = "A train travels 60 km in 45 minutes. What is its speed in km/h?"
SUM, PLANETS, PRIME = "What is 7 + 5?", "Which planet is red? A) Venus B) Mars", "Is 17 a prime? Answer yes or no."


@pytest.mark.parametrize(
    ("prompt", "answers"),
    [
        (SUM, ["12", "#### 12", "The answer is 12.", "A: 3", "\\boxed{12}", "12 km", "12km", "7 + 5 = 12", "7", "٧"]),
        (SUM, ["twelve", "One", "Seven and five is 12", "What is 7 + 5? 12"]),
        (PLANETS, ["B", "(B)", "The answer is B.", "A"]),
        (PRIME, ["yes", "No.", "It is true", "17"]),
        (
            SPEED,
            [
                "80 km/h is the speed",
                "It is 60 / 0.75 = 80 km/h.",
                "v = 80",
                "**80**",
                "$\\boxed{80}$",
                "80 kilometers",
            ],
        ),
        (SPEED, ["Die Antwort ist 80.", "La réponse est 80.", "答案是80公里。", "答えは80です"]),
        (SPEED, ["-7", "2 1/2", "\\frac{1}{2}", "50%", "1,234", "5 hundred", "one hundred and five", "$18"]),
    ],
)
def test_a_short_answer_names_a_number_or_an_option(prompt: str, answers: list[str]) -> None:
    assert [text for text in answers if not names_answer(text, prompt)] == []


@pytest.mark.parametrize(
    ("prompt", "others"),
    [
        (SUM, ["", "  ", "?", "xq;# f", "quick brown fox", "B", SUM, "7 + 5"]),
        (SUM, ["idk", "I do not know.", "I can't say, 7 maybe", "No one knows.", "I cannot answer this one."]),
        (PLANETS, ["C", "I", "Plan D", "A plan", "I do not know."]),
        (PRIME, ["maybe", "yesterday", "Not sure, no"]),
        (SUM, ["7  +  5", "5 + 7", "= 5 + 7", "WHAT IS 7 + 5", "7 + 5 = 7 + 5 ="]),
        (SPEED, ["No.", "Hell, no.", "I would rather say no", "As a language model: no", "banana cloud true"]),
        (
            SPEED,
            ["Question 5 is too hard for me.", "I give up after 3 tries.", "Step 1. Step 2. Step 3.", "1. 2. 3. 4."],
        ),
        (SPEED, ["Never in a million years.", "I have half a mind to stop here.", "I have two left feet", "Error 404"]),
        (SPEED, ["I am GPT 4, a language model.", "Loading... 50%", "Call 555 1234 now", "this one"]),
        (
            SPEED,
            [
                "Je ne sais pas, question 1.",
                "No tengo 2 ideas.",
                "Weiß nicht, 3",
                "我不知道第3题的答案。",
                "問題3は分かりません。",
            ],
        ),
        (SPEED, ["k;[ 4 }~ ,,x", "?? 12 !! -- 9 //", "7DT! 61bB", "lamp river seven cow blue table"]),
    ],
)
def test_noise_refusals_and_copies_of_the_prompt_name_no_answer(prompt: str, others: list[str]) -> None:
    assert [text for text in others if names_answer(text, prompt)] == []


def test_random_characters_and_words_name_no_answer() -> None:
    rng, vocabulary = random.Random(0), "lamp river cow blue table green run seven house half paper stone two cloud"
    signs = string.ascii_letters + string.digits + string.punctuation + "   "
    noise = ["".join(rng.choices(signs, k=size)) for size in (10, 20, 40, 48) for _ in range(100)]
    noise += [" ".join(rng.choices(vocabulary.split(), k=size)) for size in (5, 7, 9) for _ in range(100)]
    assert [text for text in noise if names_answer(text, SPEED)] == []


def test_only_short_texts_are_short_answers() -> None:
    named = np.array([True, True, True, False])
    assert short_answer(np.array([1, 8, 9, 1]), named, 8).tolist() == [True, True, False, False]


def test_a_copied_prompt_is_detected_and_real_solutions_pass() -> None:
    for question in solutions()[:200]:
        assert copied_share(question["question"] + "\nA: 5", question["question"]) > 0.85
    shares = [copied_share(one["solution"], asked["question"]) for asked in solutions() for one in asked["solutions"]]
    assert np.mean(np.array(shares) > 0.7) <= 0.001
    assert copied_share("", "a question") == copied_share("short", "") == 0


@pytest.mark.parametrize("prompt", [SPEED, SUM, "3+4=?", "3 + 4 =", "7x8", "二十加三是多少？"])
def test_a_prompt_is_copied_in_any_case_order_and_spacing(prompt: str) -> None:
    words = prompt.split()
    for text in (
        prompt,
        "  ".join(words),
        "\n".join(words),
        prompt.upper(),
        " ".join(words[::-1]),
        f"{prompt} {prompt}",
    ):
        assert copied_share(text, prompt) > 0.7
        assert not names_answer(text, prompt)


def test_a_short_answer_is_not_copied() -> None:
    for prompt, text in ((SUM, "12"), (SUM, "7 + 5 = 12"), ("3+4=?", "3+4=7"), (PLANETS, "Mars"), (PLANETS, "B) Mars")):
        assert copied_share(text, prompt) <= 0.7 or names_answer(text, prompt)


def test_text_appended_to_a_solution_is_foreign_and_real_solutions_are_not() -> None:
    tail = (
        " Mathematics is beautiful, patience its key. Every explanation is one that everybody may follow from start "
        "to end, with confidence and clarity, whatever its subject. Having considered all this carefully we arrive, "
        "naturally, where nobody is surprised who has been paying attention."
    )
    group = np.zeros(4, int)
    strange, real = [], []
    for asked in solutions()[:300]:
        texts, prompts = [one["solution"] for one in asked["solutions"]], [asked["question"]] * 4
        real += at_once(foreign_stretches(texts, prompts, group)).tolist()
        strange.append(at_once(foreign_stretches([texts[0] + tail, *texts[1:]], prompts, group))[0])
    assert np.mean(np.array(strange) > 225) >= 0.9
    assert np.mean(np.array(real) > 225) <= 0.005


def test_nothing_is_foreign_in_a_small_group_or_if_a_sibling_says_the_same() -> None:
    texts, prompts = ["lorem ipsum " * 30, "seven and five"], ["7 + 5?"] * 2
    assert at_once(foreign_stretches(texts, prompts, np.zeros(2, int))).tolist() == [0, 0]
    assert at_once(foreign_stretches([*texts, *texts], prompts * 2, np.array([0, 0, 0, 1]))).tolist()[::2] == [0, 0]
    last = at_once(foreign_stretches([*texts, "twelve"], prompts + prompts[:1], np.zeros(3, int)))[0]
    assert last == len(texts[0]) - 7
    assert at_once(foreign_stretches([], [], NO_GROUP)).tolist() == []
    assert at_once(foreign_stretches([""], ["q"], np.zeros(1, int))).tolist() == [0]


def test_many_long_texts_are_compared_part_by_part_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    words = ["apples", "pears", "so", "7 + 5 = 12", "\u4e8c\u5341\u4e2a\u82f9\u679c", "a" * 40]
    texts = [" ".join(rng.choice(words, size=60)) + str(number) * 9 for number in range(5)]
    whole = at_once(foreign_stretches(texts, ["so apples"] * 5, np.zeros(5, int)))
    monkeypatch.setattr(overlap, "PART", 50)
    assert at_once(foreign_stretches(texts, ["so apples"] * 5, np.zeros(5, int))).tolist() == whole.tolist()
    assert whole.min() > 0


def test_the_sequences_that_are_kept_of_prompts_take_a_bounded_number_of_bytes() -> None:
    for number in range(20):
        copied_share("some text", f"{number}" * 100_000)
        copied_share("some text", f"{number} " * (overlap.SHORT // 4))
    assert overlap._of_long.cache_info().currsize == 1
    most = overlap._of_short.cache_info().maxsize
    assert most is not None
    assert most * 8 * 4 * overlap.SHORT <= 64 << 20


@pytest.mark.slow
def test_long_texts_take_time_in_proportion() -> None:
    rng = np.random.default_rng(4)
    texts = ["".join(map(chr, rng.integers(97, 123, 900_000))) for _ in range(3)]
    begun = time.thread_time()
    copied_share(texts[0], texts[1])
    at_once(foreign_stretches(texts, texts, np.zeros(3, int)))
    assert not names_answer("1.1" * 400_000, texts[0])
    assert time.thread_time() - begun < 15


def test_real_solutions_pass_a_repetition_limit_of_a_half_and_loops_do_not() -> None:
    given = [solution for question in solutions() for solution in question["solutions"]]
    rejected = [one for one in given if repeated_share(one["solution"]) > 0.5]
    assert 0 < len(rejected) <= 0.005 * len(given)
    assert not any(one["is_correct"] for one in rejected)
    loops = [plain.repeated_share((one["solution"].split(".")[0] + ". ") * 20) for one in given[:200]]
    assert min(loops) > 0.9
