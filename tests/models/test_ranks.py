"""Ranks that share a group, each with texts for the real encoder: what they are paid, against one rank that has all.

benchmarks/ranks.py does the same with torchrun, more steps and more ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient
from support.real_data import solutions

N = 8
CUT = 6
"""Two groups of four; the first part has one and a half."""
STEPS = 3


@pytest.fixture(scope="module")
def client() -> Iterator[RewardClient]:
    with RewardClient.embedded(encoder="all-MiniLM-L6-v2") as client:
        yield client


def items(step: int, first: int = 0, last: int = N, times: int = 1) -> dict[str, Any]:
    solved = [(one["question"], solution) for one in solutions()[step : step + 2] for solution in one["solutions"]]
    return {
        "prompts": [question for question, _ in solved[first:last]],
        "completions": [solution["solution"] * times for _, solution in solved[first:last]],
        "outcomes": [float(item % 3 == 0) for item in range(first, last)],
        "step": step,
    }


def paid(client: RewardClient, run_id: str, cuts: list[int], times: int = 1, **config: Any) -> list[float]:
    """Rewards of all steps in item order; each step's parts are sent at once by as many threads.

    `times`: how often each completion says what it says.
    """
    parts, ends = len(cuts) + 1, [0, *cuts, N]
    client.create_run(run_id, explore_warmup_steps=0, window=9, barrier="step" if cuts else "none", **config)
    rewards: list[float] = []
    with ThreadPoolExecutor(parts) as ranks:
        for step in range(STEPS):
            sent = [
                ranks.submit(
                    client.reward, run_id=run_id, part=part, parts=parts, **items(step, *ends[part : part + 2], times)
                )
                for part in range(parts)
            ]
            rewards += [reward for one in sent for reward in one.result().rewards]
    return rewards


def test_deterministic_runs_pay_the_same_however_a_group_is_cut(client: RewardClient) -> None:
    one = paid(client, "alone", [], deterministic=True)
    assert max(one) > min(one)
    assert paid(client, "two", [CUT], deterministic=True) == one
    assert paid(client, "three", [1, CUT], deterministic=True) == one


def test_so_they_do_where_texts_are_longer_than_the_encoder_reads(client: RewardClient) -> None:
    ends = {"times": 4, "deterministic": True, "long_text": "auto"}
    one = paid(client, "ends-alone", [], **ends)
    assert one != paid(client, "cut-alone", [], **{**ends, "long_text": "truncate"})
    assert paid(client, "ends-three", [1, CUT], **ends) == one


def test_other_runs_pay_the_same_to_five_places(client: RewardClient) -> None:
    assert np.allclose(paid(client, "whole", []), paid(client, "cut", [CUT]), rtol=0, atol=1e-5)
