"""OpenRLHF's texts: completions from queries, questions from chat templates."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memr_client.errors import InvalidRequest
from memr_service.app.openrlhf import texts
from memr_service.app.openrlhf.texts import check_pattern, completion_of, question_of, without_final_tokens

PROMPT = "<|im_start|>user\nWhat is 7 + 5?<|im_end|>\n<|im_start|>assistant\n"
QWEN = r"<\|im_start\|>user\n(.*?)<\|im_end\|>"


def test_what_follows_the_prompt_is_the_completion():
    assert completion_of(PROMPT + "It is 12.", PROMPT) == ("It is 12.", "whole")
    assert completion_of(PROMPT, PROMPT) == ("", "whole")
    assert completion_of("anything", "") == ("anything", "whole")


def test_a_prompt_that_was_cut_from_the_left_is_still_found():
    assert completion_of("5?<|im_end|>\n<|im_start|>assistant\nIt is 12.", PROMPT) == ("It is 12.", "cut")
    assert completion_of("\ufffd\ufffd" + PROMPT[3:] + "It is 12.", "é" + PROMPT) == ("It is 12.", "cut")


def test_where_nothing_of_the_prompt_is_found_the_whole_query_is_taken():
    assert completion_of("It is 12.", PROMPT) == ("It is 12.", "lost")
    assert completion_of("", PROMPT) == ("", "lost")


few = st.text("ab<", max_size=12)


@given(few, few)
def test_the_longest_end_of_the_prompt_counts(prompt, query):
    completion, found = completion_of(query, prompt)
    lengths = [n for n in range(1, len(prompt) + 1) if query.startswith(prompt[-n:])]
    if query.startswith(prompt):
        assert (completion, found) == (query[len(prompt) :], "whole")
    elif lengths:
        assert (completion, found) == (query[max(lengths) :], "cut")
    else:
        assert (completion, found) == (query, "lost")


@pytest.mark.parametrize(
    "tokens",
    [
        "<|im_end|>",
        "<|im_end|>\n",
        "<|eot_id|><|end_of_text|>",
        "</s>",
        "</s> <pad><pad>",
        "<eos>",
        "<end_of_turn>\n<eos>",
        "<｜end▁of▁sentence｜>",
        "[PAD]",
    ],
)
def test_special_tokens_at_the_end_are_removed_from_a_completion(tokens):
    assert without_final_tokens("It is 12." + tokens) == "It is 12."


@pytest.mark.parametrize(
    "text", ["", " ", "12 <answer>", "</think> 12", "<|a b|>", "x < y", "</answer>", "a<|im_end|>b"]
)
def test_other_ends_stay_as_they_are(text):
    assert without_final_tokens(text) == text


@pytest.mark.slow
def test_long_texts_take_time_in_proportion():
    started = time.thread_time()
    without_final_tokens("<|a|>" * 100_000 + "x" + "<|a|>" * 100_000)
    completion_of("a" * 200_000, "a" * 200_000 + "b")
    completion_of("ab" * 100_000, "x" + "ab" * 99_999 + "aab")
    assert time.thread_time() - started < 10


def test_the_last_match_of_the_pattern_is_the_question():
    shots = PROMPT + "It is 12.<|im_end|>\n" + PROMPT.replace("7", "8")
    assert question_of(shots, QWEN) == ("What is 8 + 5?", True)
    assert question_of("<|im_start|>user\nOne\ntwo<|im_end|>", QWEN) == ("One\ntwo", True)
    assert question_of(PROMPT, None) == (PROMPT, True)


def test_where_the_pattern_finds_nothing_the_whole_prompt_is_the_question():
    assert question_of("What is 7 + 5?", QWEN) == ("What is 7 + 5?", False)
    assert question_of("b", "(a)|b") == ("b", False)


def test_a_pattern_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(texts, "PATTERN_S", 0.05)
    started = time.thread_time()
    with pytest.raises(InvalidRequest, match="too long") as refused:
        question_of("a" * 40 + "bc", "((?:a|aa)+)c")
    assert time.thread_time() - started < 2
    assert "aaaa" not in str(refused.value.document())


def test_a_pattern_that_this_server_cannot_use_is_refused():
    check_pattern("prompt_pattern", None)
    check_pattern("prompt_pattern", QWEN)
    with pytest.raises(InvalidRequest, match="not a regular expression"):
        check_pattern("prompt_pattern", r"(\p{Nonsense})")
