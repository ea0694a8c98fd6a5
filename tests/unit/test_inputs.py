"""Which text counts, who is who, and embeddings as they come off the wire."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest
from memr_client.schemas import Message, RewardRequest
from memr_service.engine import inputs
from support.batches import unit_rows

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


# Embeddings (L2)


def test_rows_come_out_of_unit_length_whatever_came_in() -> None:
    rng = np.random.default_rng(0)
    unit = unit_rows(rng, 6, 12).astype(np.float64)
    for sent in (unit * 5, (unit * 1e-30).astype(np.float32), np.asfortranarray(unit * 3), unit.astype(np.float16)):
        rows = inputs.unit_rows(sent, "prompts")
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float64), axis=1), 1, atol=1e-7)
        np.testing.assert_allclose(rows, unit, atol=1e-3 if sent.dtype == np.float16 else 1e-6)
    whole = rng.integers(-3, 4, size=(5, 4)) * 2 + 1
    np.testing.assert_array_equal(inputs.unit_rows(whole, "p"), inputs.unit_rows(whole.astype(np.float64), "p"))


def test_rows_are_the_same_bits_whatever_their_layout_in_memory() -> None:
    sent = np.random.default_rng(1).normal(size=(50, 384))
    rows = inputs.unit_rows(sent, "prompts")
    for other in (np.asfortranarray(sent), np.repeat(sent, 2, axis=0)[::2], sent[::-1][::-1], sent.astype(">f8")):
        again = inputs.unit_rows(other, "prompts")
        np.testing.assert_array_equal(again, rows)
        assert again.flags.c_contiguous
    for at in (0, 17):
        np.testing.assert_array_equal(inputs.unit_rows(sent[at : at + 1], "prompts")[0], rows[at])


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("whole_row", [True, False])
def test_a_row_that_is_zero_or_not_finite_is_refused_by_its_place(bad: float, whole_row: bool) -> None:
    sent = np.eye(4)
    sent[2, :] = bad if whole_row else sent[2, :]
    sent[2, 2] = bad
    with pytest.raises(InvalidRequest, match=r"embeddings\.completions\[2\]") as caught:
        inputs.unit_rows(sent, "completions")
    assert caught.value.limit
    assert caught.value.remedy


def test_numbers_too_large_to_square_are_refused_without_a_warning() -> None:
    sent = [[1e300] * 3]
    with pytest.raises(InvalidRequest):
        inputs.unit_rows(np.array(sent), "prompts")
    assert len(digest(embeddings={"prompts": sent, "completions": sent})) == 32


def test_half_precision_is_what_is_stored_before_anything_reads_it() -> None:
    rows = unit_rows(np.random.default_rng(2), 5)
    np.testing.assert_array_equal(inputs.rounded(rows, "float32"), rows)
    half = inputs.rounded(rows, "float16")
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, rows.astype(np.float16))


def test_a_matrix_may_come_as_lists_arrays_or_bytes() -> None:
    rows = unit_rows(np.random.default_rng(3), 3, 5)
    packed = rows.astype("<f4").tobytes()
    for raw in (rows.tolist(), rows, rows.astype(np.float64), packed, bytearray(packed), memoryview(packed)):
        np.testing.assert_array_equal(inputs.matrix(raw, "prompts", 3), rows)
    np.testing.assert_array_equal(inputs.matrix([[1, 0], [0, 2]], "prompts", 2), [[1, 0], [0, 2]])


@pytest.mark.parametrize(
    "raw",
    [
        [],
        [[]],
        [[], []],
        [1.0, 2.0],
        [[1.0, 2.0]],
        [[1.0], [2.0], [3.0]],
        [[1.0, 2.0], [3.0]],
        [[[1.0]], [[2.0]]],
        [["1"], ["2"]],
        [[True], [False]],
        [[None], [1.0]],
        [[1j], [1.0]],
        [[10**30], [1]],
        [{}, {}],
        {"a": 1},
        "text",
        None,
        7,
        b"",
        b"1234567",
        b"1234",
        bytes(12),
    ],
)
def test_what_is_not_a_row_of_numbers_for_each_item_is_refused(raw: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"embeddings\.prompts ") as caught:
        inputs.matrix(raw, "prompts", 2)
    assert caught.value.limit
    assert caught.value.remedy


def test_pairs_of_prompt_and_embedding_are_told_apart_by_both() -> None:
    rows = unit_rows(np.random.default_rng(4), 2)
    vectors = rows[[0, 0, 1, 0, 1, 0]]
    keys = [b"a", b"b", b"a", b"a", b"a", b"b"]
    first, of = inputs.distinct_rows(vectors, keys)
    assert first.tolist() == [0, 1, 2]
    assert of.tolist() == [0, 1, 2, 0, 2, 1]
    np.testing.assert_array_equal(vectors[first][of], vectors)
    same = inputs.distinct_rows(rows, keys, [0, 0, 1, 0, 1, 0])
    assert [column.tolist() for column in same] == [first.tolist(), of.tolist()]


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
