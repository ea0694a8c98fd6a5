"""What is read of a request: which text counts, which prompts and groups are the same, and the digest of its body."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import orjson
import pytest
from memr_client.errors import InvalidRequest
from memr_client.schemas import Message, RewardRequest, RunConfig
from memr_service.engine import inputs
from memr_service.state.law import LAW

TAGS = ("<think>", "</think>")


def request(**fields: Any) -> RewardRequest:
    n = len(fields.get("prompts", ["q"]))
    return RewardRequest(
        **{"run_id": "run", "prompts": ["q"], "completions": ["a"] * n, "outcomes": [1.0] * n, **fields}
    )


def said(role: str, content: Any, **more: Any) -> Message:
    return Message(role=role, content=content, **more)


# Texts (L1)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (" as it is\n", " as it is\n"),
        ("", ""),
        ([said("user", "one")], "one"),
        ([said("system", "s"), said("user", "one"), said("assistant", "a"), said("user", "two")], "two"),
        ([said("user", "one"), said("assistant", "prefilled")], "one"),
        ([said("user", [{"type": "text", "text": "a "}, {"type": "image"}, {"type": "text", "text": "b"}])], "a b"),
        ([said("user", [])], ""),
        ([said("user", None)], ""),
    ],
)
def test_of_a_prompt_the_last_user_message_is_encoded(prompt: inputs.Text, text: str) -> None:
    assert inputs.prompt_text(prompt) == text


@pytest.mark.parametrize("prompt", [[], [said("system", "s")], [said("User", "no"), said("assistant", "a")]])
def test_a_chat_without_a_user_message_is_refused_and_the_item_named(prompt: inputs.Text) -> None:
    with pytest.raises(InvalidRequest, match=r"prompts\[3\]") as caught:
        inputs.prompt_text(prompt, 3)
    assert caught.value.value == [message.role for message in prompt]
    assert caught.value.limit
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        (" as it is ", " as it is "),
        ([said("assistant", "one")], "one"),
        (
            [said("assistant", "one"), said("tool", "42"), said("assistant", [{"type": "text", "text": "two"}])],
            "one\ntwo",
        ),
        ([said("user", "none of the policy's")], ""),
        ([said("assistant", None), said("assistant", "after a tool call")], "\nafter a tool call"),
    ],
)
def test_of_a_completion_what_the_assistant_said_is_encoded(completion: inputs.Text, text: str) -> None:
    assert inputs.completion_text(completion) == text


@pytest.mark.parametrize(
    ("completion", "ours", "official"),
    [
        ("<think>why</think>42", "why", "why"),
        ("<think> why\n</think> 42", "why", "why"),
        ("a<think>b</think>c<think>d</think>e", "b\nd", "d"),
        ("why</think>42", "why", "why"),
        ("<think>why, and then the limit", "why, and then the limit", "why, and then the limit"),
        ("a</think>b<think>c</think>d", "a\nc", "c"),
        ("a</think>b<think>c", "a\nc", "c"),
        ("a<think>b</think>c</think>d", "b", "b"),
        ("a<think>b<think>c</think>d", "b<think>c", "c"),
        ("a</think>b</think>c", "a", "a"),
        ("<think></think>42", "", ""),
        ("</think>42", "", ""),
        ("42<think>", "", ""),
        (" no tag ", "no tag", "no tag"),
        ("<THINK>not the tag</THINK>", "<THINK>not the tag</THINK>", "<THINK>not the tag</THINK>"),
        ("", "", ""),
        ([said("assistant", "<think>one"), said("assistant", "two</think>42")], "one\ntwo", "one\ntwo"),
    ],
)
def test_with_reasoning_tags_only_what_stands_between_them_is_encoded(
    completion: inputs.Text, ours: str, official: str
) -> None:
    assert inputs.completion_text(completion, TAGS) == ours
    assert inputs.completion_text(completion, TAGS, official=True) == official


SEARCH = {"type": "function", "function": {"name": "search", "arguments": {"q": "weather", "n": 2}}}
SEARCHED = 'search({"n": 2, "q": "weather"})'


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("official", [False, True])
def test_reasoning_in_a_field_of_its_own_is_read_as_if_it_stood_between_the_tags(field: str, official: bool) -> None:
    apart = [said("assistant", "5", **{field: "two plus three"})]
    assert inputs.whole_text(apart, TAGS) == "<think>two plus three</think>5"
    assert inputs.completion_text(apart, TAGS, official=official) == "two plus three"
    assert inputs.completion_text(apart) == "two plus three\n5"
    tagged = [said("assistant", "5", **{field: "<think>\ntwo plus three\n</think>\n"})]
    assert inputs.completion_text(tagged, TAGS, official=official) == "two plus three"


def test_of_several_turns_all_reasoning_is_read() -> None:
    turns = [said("assistant", None, thinking="one"), said("tool", "42"), said("assistant", "two", thinking="three")]
    assert inputs.completion_text(turns, TAGS) == "one\nthree"
    assert inputs.completion_text(turns) == "one\nthree\ntwo"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (said("assistant", None, tool_calls=[SEARCH]), SEARCHED),
        (said("assistant", "", tool_calls=[{"id": "call_7", **SEARCH}]), SEARCHED),
        (said("assistant", "I look.", tool_calls=[SEARCH, {"name": "stop"}]), f"I look.\n{SEARCHED}\nstop()"),
        (
            said("assistant", None, tool_calls=[{"function": {"name": "f", "arguments": '{"b": 1, "a": "ä"}'}}]),
            'f({"a": "ä", "b": 1})',
        ),
        (said("assistant", None, tool_calls=[{"function": {"name": "f", "arguments": "cut {"}}]), "f(cut {)"),
        (said("assistant", None, tool_calls={"name": "f", "parameters": {}}), "f({})"),
        (said("assistant", None, tool_calls=[{"type": "custom", "custom": {"name": "sh", "input": "ls"}}]), "sh(ls)"),
        (said("assistant", None, tool_calls=["unusual", {"nameless": 1}]), 'unusual\n{"nameless": 1}'),
        (said("assistant", None, function_call={"name": "f", "arguments": "{}"}), "f({})"),
        (
            said("assistant", [{"type": "text", "text": "a"}, {"type": "tool_use", "name": "f", "input": {"x": 1}}]),
            'a\nf({"x": 1})',
        ),
        (said("assistant", [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]), "hm\na"),
        (said("assistant", "a", tool_calls=None, reasoning_content=None), "a"),
        (said("assistant", "a", reasoning={"effort": "high"}, tool_calls=[]), "a"),
    ],
)
def test_tool_calls_and_reasoning_are_part_of_what_was_said(message: Message, text: str) -> None:
    assert inputs.completion_text([message]) == text
    assert inputs.completion_text([message], law=1) == message.text


def test_equal_calls_read_equal_whatever_their_ids_and_the_form_of_their_arguments() -> None:
    packed = {**SEARCH, "id": "other", "function": {"name": "search", "arguments": '{"q":"weather","n":2}'}}
    one, other = said("assistant", None, tool_calls=[SEARCH]), said("assistant", None, tool_calls=[packed])
    assert inputs.completion_text([one]) == inputs.completion_text([other])


def test_a_completion_of_which_nothing_is_read_is_named() -> None:
    silent = [said("tool", "42")]
    pictured = [said("assistant", [{"type": "image_url", "image_url": {"url": "x"}}])]
    empty, calling = [said("assistant", "")], [said("assistant", None, tool_calls=[SEARCH])]
    asked = request(prompts=["q"] * 6, completions=["", silent, empty, pictured, calling, []])
    items = inputs.read(asked)
    (warning,) = items.unread(items.completions(RunConfig(), LAW), LAW)
    assert "completions[1], completions[3]," in warning
    (warning,) = items.unread(items.completions(RunConfig(), 1), 1)
    assert "completions[1], completions[3], completions[4]," in warning
    assert "new run" in warning


# Identities and groups


def test_equal_prompts_have_one_identity_and_others_another() -> None:
    chat = [said("user", "q")]
    prompts: list[tuple[inputs.Text, str | None]] = [
        ("q", None),
        ("q ", None),
        ("Q", None),
        ("", None),
        (chat, None),
        ([said("system", "s"), *chat], None),
        ([said("system", "t"), *chat], None),
        ([*chat, said("assistant", "a")], None),
        ([said("user", "q", name="ann")], None),
        ([said("user", [{"type": "text", "text": "q"}])], None),
        ("q", "q"),
        ("q", ""),
        ("q", "7"),
    ]
    identities = [inputs.identity(*prompt) for prompt in prompts]
    assert len(set(identities)) == len(prompts)
    assert {len(one) for one in identities} == {16}
    assert identities == [inputs.identity(*prompt) for prompt in prompts]


def test_an_id_makes_prompts_the_same_whatever_they_say() -> None:
    asked = request(prompts=["q", [said("user", "r")], "q"], prompt_ids=["7", "7", "8"])
    one, other, third = inputs.identities(asked)
    assert one == other != third


def test_the_order_of_a_messages_fields_does_not_matter() -> None:
    one, other = ({"role": "user", "content": "q", "name": "ann"}, {"name": "ann", "content": "q", "role": "user"})
    assert inputs.identity([Message(**one)], None) == inputs.identity([Message(**other)], None)


def test_groups_are_numbered_as_they_appear_by_id_or_by_prompt() -> None:
    by_prompt = request(prompts=["q", "r", "q", "s", "r"])
    numbers, names = inputs.groups(by_prompt, keys := inputs.identities(by_prompt))
    assert numbers.tolist() == [0, 1, 0, 2, 1]
    assert names == [keys[0], keys[1], keys[3]]
    by_id = request(prompts=["q", "r", "q"], group_ids=["x", "y", "y"])
    numbers, names = inputs.groups(by_id, inputs.identities(by_id))
    assert numbers.tolist() == [0, 1, 1]
    assert len(set(names)) == 2


# A request read once


def test_a_request_is_read_once_and_its_texts_are_those_that_are_encoded_and_kept() -> None:
    chat = [said("system", "s"), said("user", "one")]
    answer = [said("assistant", "<think>why</think>"), said("assistant", "42")]
    asked = request(prompts=["q", chat, "q"], completions=["a", answer, "<think>b</think>c"], group_ids=["x", "y", "x"])
    items = inputs.read(asked, deadline=7.0)
    assert items.prompts == ["q", "one", "q"]
    whole = ["a", "<think>why</think>\n42", "<think>b</think>c"]
    assert items.completions(RunConfig(), 1) == items.completions(RunConfig(reasoning_tags=TAGS), LAW) == whole
    assert items.keys == inputs.identities(asked)
    assert (items.group.tolist(), len(items), items.deadline, items.sent) == ([0, 1, 0], 3, 7.0, None)
    assert items.digest == inputs.body_digest(asked, ())
    for official in (False, True):
        assert [inputs.read_between(text, TAGS, official=official) for text in whole] == ["a", "why", "b"]
    assert items.unread(whole, LAW) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"prompts": ["\ud800"]},
        {"prompts": [[said("user", "\ud800")]]},
        {"prompt_ids": ["\ud800"]},
        {"group_ids": ["\ud800"]},
        {"completions": ["\ud800"]},
    ],
)
def test_a_lone_surrogate_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="surrogate") as caught:
        _ = inputs.read(request(**fields)).digest
    assert caught.value.limit
    assert caught.value.remedy


# The digest of a body (L12)


def digest(**fields: Any) -> bytes:
    asked = request(**fields)
    sent = asked.embeddings
    return inputs.body_digest(asked, () if sent is None else (np.asarray(sent.prompts), np.asarray(sent.completions)))


def test_equal_bodies_have_one_digest_whatever_their_request_id_and_the_name_of_the_run() -> None:
    row = [0.5, -0.25]
    packed = np.array([row], "<f4")
    assert digest(request_id="one") == digest(request_id="two") == digest() == digest(run_id="fork")
    assert digest(mode="train", outcomes=[1]) == digest()
    sent = {"prompts": [row], "completions": [row]}
    assert digest(embeddings=sent) == digest(embeddings={"prompts": packed, "completions": packed})


def test_numbers_beyond_float32_have_a_digest_without_a_warning() -> None:
    sent = [[1e300] * 3]
    assert len(digest(embeddings={"prompts": sent, "completions": sent})) == 32


def test_bodies_that_differ_in_anything_else_have_different_digests() -> None:
    row, other = [0.5, -0.25], [0.5, -0.26]
    chat = [{"role": "user", "content": "q"}]
    bodies: list[dict[str, Any]] = [
        {},
        {"prompts": ["r"]},
        {"prompts": [chat]},
        {"prompts": [[{**chat[0], "name": "ann"}]]},
        {"prompts": ["q", "q"]},
        {"completions": ["b"]},
        {"outcomes": [0.5]},
        {"step": 0},
        {"step": 1},
        {"part": 0, "parts": 1},
        {"part": 0, "parts": 2},
        {"prompt_ids": ["q"]},
        {"group_ids": ["q"]},
        {"index": [0]},
        {"answers": ["a"]},
        {"answers": [None]},
        {"labels": ["a"]},
        {"truncated": [True]},
        {"mode": "eval"},
        {"embeddings": {"prompts": [row], "completions": [row]}},
        {"embeddings": {"prompts": [row], "completions": [other]}},
        {"embeddings": {"prompts": [other], "completions": [row]}},
        {"embeddings": {"prompts": [row + row], "completions": [row]}},
    ]
    assert len({digest(**body) for body in bodies}) == len(bodies)


def test_many_reasoning_tags_take_time_in_proportion():
    text = "".join(TAGS) * 70_000
    begun = time.thread_time()
    assert inputs.read_between(text, TAGS) == ""
    assert time.thread_time() - begun < 2


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 33])
def test_the_json_of_a_body_is_the_same_in_pieces(n: int) -> None:
    chat = [said("user", "q")]
    fields = {"prompts": ["é", chat] * n, "answers": [None] * n, "mode": "train", "a": {"y": 1, "x": [2] * n}}
    whole = orjson.dumps(fields, default=Message.model_dump, option=orjson.OPT_SORT_KEYS)
    assert b"".join(inputs.json_pieces(fields)) == b"".join(inputs.json_pieces(fields, 1000)) == whole
    assert b"".join(inputs.json_pieces({})) == b"{}"
