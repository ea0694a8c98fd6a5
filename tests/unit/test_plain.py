"""Values of any library as plain ones: outcomes with gaps, chats with images."""

import asyncio
from decimal import Decimal
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from memr_client import InvalidRequest, Message
from memr_client.awaiting import settled
from memr_client.plain import plain_outcomes, plain_text

NAN = float("nan")


class Picture:
    """Stands for an image of any library."""


@pytest.mark.parametrize(
    "outcomes",
    [
        [NAN, 1],
        [None, True],
        (np.float32("nan"), np.bool_(True)),
        np.array([NAN, 1.0]),
        np.array([None, 1], object),
        [Decimal("NaN"), Fraction(1)],
    ],
)
def test_nan_and_none_mean_does_not_apply_in_any_array(outcomes):
    assert plain_outcomes(outcomes, 2) == [None, 1.0]


@pytest.mark.parametrize(
    ("outcomes", "says"),
    [
        (None, "correct gave None for 2 completions"),
        (1.0, "correct gave 1.0 for 2 completions"),
        ([1.0], "correct has 1 values for 2 completions"),
        ("10", "correct gave str for 2"),
        ([1.0, "right"], r"correct\[1\] is a text, not a number"),
        ([[1.0], [0.0]], r"correct\[0\] is a value of type list"),
        (np.zeros((2, 1)), r"correct\[0\] is a value of type list"),
    ],
)
def test_other_outcomes_are_refused_with_item_value_and_limit(outcomes, says):
    with pytest.raises(InvalidRequest, match=says) as caught:
        plain_outcomes(outcomes, 2, "correct")
    assert caught.value.limit
    assert caught.value.remedy


def test_what_is_no_text_is_left_out_of_a_chat():
    parts = [
        "What",
        {"type": "text", "text": " colour?"},
        {"type": "image", "image": Picture(), "size": np.int64(4)},
        {"type": "audio", "audio": {"array": np.zeros(8), "rate": 16_000}, "raw": b"\0"},
        Picture(),
        np.zeros((2, 2)),
    ]
    message = {"role": "user", "content": parts, "images": [Picture()]}
    kept = [
        "What",
        {"type": "text", "text": " colour?"},
        {"type": "image", "size": 4},
        {"type": "audio", "audio": {"rate": 16_000}},
    ]
    expected = [{"role": "user", "content": kept, "images": []}]
    assert plain_text([message], "prompts[0]") == expected
    assert plain_text(np.array([message], object), "prompts[0]") == expected
    in_arrays = {**message, "content": np.array(parts[:4], object)}
    assert plain_text([in_arrays], "prompts[0]") == expected
    assert plain_text([Message(role="user", content="hi")], "q") == [{"role": "user", "content": "hi"}]


def test_bytes_may_be_a_text_or_not_and_are_refused_by_place():
    with pytest.raises(InvalidRequest, match=r"prompts\[3\]\[0\]\.content is bytes"):
        plain_text([{"role": "user", "content": b"hi"}], "prompts[3]")


async def later(value):
    await asyncio.sleep(0)
    return value, asyncio.get_running_loop()


def test_awaitables_are_awaited_on_one_loop_wherever_the_caller_is():
    assert settled([1.0]) == [1.0]
    first, loop = settled(later(1))

    async def inside():
        return settled(partial(later, 2)())

    assert (first, asyncio.run(inside())) == (1, (2, loop))


async def fails():
    raise ValueError("no verdict")


def test_what_an_awaitable_raises_is_raised():
    with pytest.raises(ValueError, match="no verdict"):
        settled(fails())
