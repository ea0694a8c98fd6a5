"""The oracle against cases worked out by hand, in the plane: `unit(degrees)` is a row."""

import math

import numpy as np
import pytest
from support.paper import Answer, Oracle, Row, center, scale_by_item, scale_by_request
from support.paper_official import OfficialOracle
from support.paper_text import completion_text, prompt_text

RIGHT, WRONG = 1.0, 0.0
ON = {"explore_warmup_steps": 0}


def unit(degrees: float) -> Row:
    return np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])


def ask(oracle: Oracle, prompts: str, completions: list[float], outcomes: list[float], **more: object) -> Answer:
    """One request in the plane; each letter of `prompts` is a prompt, standing at 10 degrees times its place."""
    rows = [unit(10 * (ord(letter) - ord("A"))) for letter in prompts]
    return oracle.reward(rows, [unit(angle) for angle in completions], list(prompts), outcomes, **more)  # type: ignore[arg-type]


def test_exploit_is_minus_the_distance_to_the_mean_of_the_successes() -> None:
    oracle = Oracle({"order": "read_first"})
    ask(oracle, "AA", [0, 90], [RIGHT, RIGHT])
    assert ask(oracle, "A", [0], [RIGHT]).raw["exploit"] == [pytest.approx(-math.sqrt(0.5))]


def test_explore_is_one_minus_the_cosine_to_the_nearest_failure() -> None:
    oracle = Oracle({"order": "read_first", **ON})
    ask(oracle, "AA", [0, 60], [WRONG, WRONG])
    assert ask(oracle, "A", [90], [WRONG]).raw["explore"] == [pytest.approx(1 - math.cos(math.radians(30)))]


def test_nobody_reads_a_lone_right_answer_of_its_own_group() -> None:
    answer = ask(Oracle(ON), "AAAA", [0, 30, 60, 90], [WRONG, RIGHT, WRONG, WRONG])
    assert answer.support == {"success": [0, 0, 0, 0], "failure": [2, 2, 2, 2]}
    assert answer.raw["exploit"] == [None] * 4


def test_every_sibling_is_compared_with_equally_many_and_never_with_itself() -> None:
    answer = ask(Oracle(ON), "AAAA", [0, 20, 50, 90], [RIGHT, WRONG, RIGHT, WRONG])
    # right ones read the other right one; the first wrong one leaves out the next right one, the second wraps around
    chords = [2 * math.sin(math.radians(angle) / 2) for angle in (50, 20, 50, 40)]
    assert answer.raw["exploit"] == [pytest.approx(-chord) for chord in chords]
    cosines = [math.cos(math.radians(angle)) for angle in (90, 70, 30, 70)]
    assert answer.raw["explore"] == [pytest.approx(1 - cosine) for cosine in cosines]


def test_an_entry_evicted_by_its_siblings_is_replaced_by_the_next_one_stored() -> None:
    answer = ask(Oracle({"max_completions": 2}), "AAA", [0, 40, 100], [RIGHT] * 3)
    # the first left; without the second it reads the third, as the second does; the third reads the second
    chords = [2 * math.sin(math.radians(angle) / 2) for angle in (100, 60, 60)]
    assert answer.raw["exploit"] == [pytest.approx(-chord) for chord in chords]


def test_a_prompt_with_no_other_entry_is_passed_over_for_its_neighbour() -> None:
    oracle = Oracle({})
    ask(oracle, "B", [80], [RIGHT])
    answer = ask(oracle, "A", [20], [RIGHT])
    assert answer.support["success"] == [1]
    assert answer.raw["exploit"] == [pytest.approx(-2 * math.sin(math.radians(30)))]


def test_read_first_shows_a_group_nothing_of_itself() -> None:
    oracle = Oracle({"order": "read_first", **ON})
    assert ask(oracle, "AA", [0, 90], [RIGHT, WRONG]).support == {"success": [0, 0], "failure": [0, 0]}
    assert ask(oracle, "AA", [0, 90], [RIGHT, WRONG]).support == {"success": [1, 1], "failure": [1, 1]}


def test_the_prompt_stored_first_leaves_and_comes_back_as_the_youngest() -> None:
    oracle = Oracle({"max_prompts": 2})
    ask(oracle, "AB", [0, 0], [RIGHT, RIGHT])
    ask(oracle, "ACA", [0, 0, 0], [RIGHT] * 3)  # A is known and keeps its age, so that C drives it out; it drives out B
    assert [prompt.identity for prompt in oracle.success.prompts] == ["C", "A"]
    assert oracle.success.size() == (2, 2)


def test_equally_near_prompts_are_read_in_the_order_of_storing() -> None:
    oracle = Oracle({"order": "read_first"})
    oracle.reward([unit(5)] * 2, [unit(0), unit(90)], ["later letter", "earlier letter"], [RIGHT, RIGHT])
    assert ask(oracle, "A", [0], [RIGHT]).raw["exploit"] == [pytest.approx(0)]


def test_min_similarity_leaves_out_neighbours_but_never_the_prompt_itself() -> None:
    oracle = Oracle({"order": "read_first", "k": 9, "min_similarity": math.cos(math.radians(15))})
    ask(oracle, "ABC", [0, 0, 0], [RIGHT] * 3)
    assert ask(oracle, "A", [0], [WRONG]).support["success"] == [2]
    far = oracle.reward([unit(170)], [unit(0)], ["A"], [WRONG])
    assert far.support["success"] == [1]


def test_an_outcome_between_the_thresholds_is_stored_nowhere() -> None:
    oracle = Oracle({"success_threshold": 0.8, "failure_threshold": 0.2})
    sizes = ask(oracle, "AAAA", [0, 1, 2, 3], [0.2, 0.5, 0.8, 0.9]).sizes
    assert sizes == {"success": (1, 1), "failure": (1, 1)}


def test_the_window_scales_a_value_by_the_last_w_that_end_with_it() -> None:
    window: list[float] = []
    assert scale_by_item([1.0, 3.0, None, 2.0, 2.5], window, 3) == pytest.approx([0, 1, 0, 0.5, 0.5])
    assert window == [3.0, 2.0, 2.5]


def test_scaling_by_request_does_not_depend_on_the_order() -> None:
    raw, window = [4.0, None, 1.0, 3.0], [2.0]
    assert scale_by_request(raw, list(window), 9) == pytest.approx([1, 0, 0, 2 / 3])
    assert scale_by_request(raw[::-1], list(window), 9) == pytest.approx([2 / 3, 0, 0, 1])
    assert scale_by_request(raw, list(window), 2) == pytest.approx([1, 0, 0, 2 / 3])


def test_a_window_without_spread_scales_to_zero() -> None:
    assert scale_by_item([1.0, 1.0 + 9e-7], [], 9) == [0, 0]


def test_centring_takes_each_groups_mean_from_all_its_members() -> None:
    assert center([1.0, 0.0, 0.5, 0.0], ["g", "g", "h", "h"]) == [0.5, -0.5, 0.25, -0.25]


def test_explore_waits_for_steps_and_prompts_as_they_were_before_the_request() -> None:
    oracle = Oracle({"explore_warmup_steps": 3, "explore_warmup_prompts": 2})
    steps = [7, 7, None, None]
    heard = [ask(oracle, "AA", [0, 90], [WRONG, WRONG], step=step).raw["explore"][0] is not None for step in steps]
    assert heard == [False] * 4
    assert ask(oracle, "BB", [0, 90], [WRONG, WRONG]).raw["explore"] == [None, None]
    assert ask(oracle, "BB", [0, 90], [WRONG, WRONG]).raw["explore"] != [None, None]
    assert len(oracle.windows["explore"]) == 2


def test_eval_reads_everything_and_changes_nothing() -> None:
    oracle = Oracle(ON)
    ask(oracle, "AAA", [0, 40, 90], [RIGHT, WRONG, WRONG])
    before = {name: list(window) for name, window in oracle.windows.items()}
    assert ask(oracle, "AA", [10, 20], [RIGHT, WRONG], mode="eval").support == {"success": [1, 1], "failure": [2, 2]}
    assert oracle.windows == before
    assert (oracle.success.size(), oracle.failure.size(), oracle.stepless) == ((1, 1), (1, 2), 1)


def test_rows_are_brought_to_unit_length_and_rounded_before_they_are_read() -> None:
    oracle = Oracle({"storage": "float16", "order": "read_first"})
    third = [np.array([1.0, 2.0, 2.0])]
    oracle.reward(third, third, ["A"], [RIGHT])
    stored = oracle.success.prompts[0].completions[0]
    assert stored.tolist() == [float(np.float16(1 / 3)), float(np.float16(2 / 3)), float(np.float16(2 / 3))]
    with pytest.raises(ValueError, match="not zero"):
        oracle.reward([np.zeros(2)], [unit(0)], ["A"], [RIGHT])


def test_weights_multiply_the_scaled_values() -> None:
    oracle = Oracle({"components": {"exploit": 2.0, "explore": -3.0}, **ON})
    answer = ask(oracle, "AAAA", [0, 20, 50, 90], [RIGHT, WRONG, RIGHT, WRONG])
    expected = [2 * x - 3 * y for x, y in zip(answer.scaled["exploit"], answer.scaled["explore"], strict=True)]
    assert answer.rewards == pytest.approx(expected)
    assert max(answer.rewards) > 0 > min(answer.rewards)


def test_the_official_order_lets_a_completion_meet_itself() -> None:
    oracle = OfficialOracle({"explore_warmup_prompts": 1})
    answer = ask(oracle, "AAAA", [0, 90, 30, 60], [WRONG, RIGHT, RIGHT, WRONG])
    # nothing to exploit yet; a lone success: distance 0, unscaled; a mean cos(30) long, half a chord from both its ends
    height = math.cos(math.radians(30))
    assert answer.raw["exploit"][0] is None
    assert answer.raw["exploit"][1:] == pytest.approx([0, -0.5, -(1 - height)])
    assert answer.scaled["exploit"] == pytest.approx([0, 1, 0, (height - 0.5) / 0.5])
    assert answer.raw["explore"] == pytest.approx([0, 1, 1 - height, 0])
    assert answer.scaled["explore"] == pytest.approx([0, 1, 1 - height, 0])


def test_official_explore_is_one_where_nothing_failed_and_zero_while_it_is_off() -> None:
    assert ask(OfficialOracle({"explore_warmup_prompts": 0}), "A", [0], [RIGHT]).scaled["explore"] == [1]
    assert ask(OfficialOracle({}), "A", [0], [RIGHT]).scaled["explore"] == [0]


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (" no tag ", "no tag"),
        ("out <t> in</t> out <t>too </t>", "in\ntoo"),
        ("prefilled</t> out", "prefilled"),
        ("prefilled</t> out <t>in</t>", "prefilled\nin"),
        ("out <t>cut off", "cut off"),
        ("<t>in</t> out <t>cut off", "in\ncut off"),
        ([{"role": "assistant", "content": "one"}, {"role": "user", "content": "x"}], "one"),
        ([{"role": "assistant", "content": [{"type": "text", "text": t} for t in "ab"]}] * 2, "ab\nab"),
    ],
)
def test_only_the_tagged_text_of_a_completion_is_encoded(completion: object, expected: str) -> None:
    assert completion_text(completion, ("<t>", "</t>")) == expected  # type: ignore[arg-type]


def test_the_last_user_message_of_a_chat_is_encoded() -> None:
    chat = [{"role": role, "content": role + str(turn)} for turn in (1, 2) for role in ("user", "assistant")]
    assert prompt_text(chat) == "user2"
    with pytest.raises(ValueError, match="user message"):
        prompt_text([{"role": "system", "content": "be brief"}])
