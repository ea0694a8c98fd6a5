"""Tensors that callers hand over, and what of them crosses the wire."""

import json

import msgpack
import numpy as np
import pytest
import torch
from memr_client.columns import MSGPACK, encode, reward_request

IDENTITY = np.eye(2, 3, dtype=np.float32)


def sent(outcomes=(1.0, 0.0), **columns):
    content, content_type = encode(reward_request(["q", "p"], ["a", "b"], outcomes, run_id="run", **columns))
    return msgpack.unpackb(content) if content_type == MSGPACK else json.loads(content)


@pytest.mark.parametrize("outcomes", [torch.tensor([1.0, 0.0]), [torch.tensor(1), 0]], ids=["tensor", "scalars"])
def test_outcomes_may_be_tensors(outcomes):
    assert sent(outcomes)["outcomes"] == [1.0, 0.0]


def test_other_columns_may_be_tensors():
    assert sent(truncated=torch.ones(2) > 0)["truncated"] == [True, True]


@pytest.mark.parametrize(
    "tensor",
    [torch.from_numpy(IDENTITY).requires_grad_(), torch.eye(2, 3).bfloat16()],
    ids=["with a gradient", "bfloat16"],
)
def test_tensors_are_sent_as_messagepack_bytes_in_row_major_order(tensor):
    body = sent(embeddings={"prompts": tensor, "completions": tensor})
    assert body["embeddings"] == {"prompts": IDENTITY.tobytes(), "completions": IDENTITY.tobytes()}


def test_tensors_that_float32_would_round_are_sent_as_json_to_the_last_digit():
    third = torch.eye(2, dtype=torch.float64) / 3
    assert sent(embeddings={"prompts": third, "completions": third})["embeddings"]["prompts"] == third.tolist()
