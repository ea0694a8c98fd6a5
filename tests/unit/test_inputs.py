"""What is read of a request: which text counts, which prompts and groups are the same, and the digest of its body."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest
from memr_client.schemas import Message, RewardRequest, RunConfig
from memr_service.engine import inputs

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
    assert items.completions == ["a", "<think>why</think>\n42", "<think>b</think>c"]
    assert items.keys == inputs.identities(asked)
    assert (items.group.tolist(), len(items), items.deadline, items.sent) == ([0, 1, 0], 3, 7.0, None)
    assert items.digest == inputs.body_digest(asked, ())
    assert items.encoded_completions(RunConfig()) == items.completions
    assert items.encoded_completions(RunConfig(reasoning_tags=TAGS)) == ["a", "why", "b"]
    official = RunConfig(reasoning_tags=TAGS, order="official", preset="official-memory-r")
    assert items.encoded_completions(official) == ["a", "why", "b"]


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
