"""The pool with dead questions, and which trainings the study of planning has."""

from __future__ import annotations

import pytest

from benchmarks.planning_study.__main__ import share_of_rollouts, trainings
from benchmarks.planning_study.registration import registered
from examples.grpo.tasks.dial_pool import LEARNABLE, NEVER, DialPool


@pytest.mark.parametrize("dead_share", [0.0, 0.3, 0.6, 0.8])
def test_a_pool_has_the_share_of_dead_questions_half_easy_half_impossible(dead_share: float) -> None:
    task = DialPool(dead_share)
    texts = [question.text for question in task.train]
    dead = len(texts) - LEARNABLE
    assert dead / len(texts) == pytest.approx(dead_share, abs=0.005)
    impossible = [question for question in task.train if question.answer == NEVER]
    assert abs(2 * len(impossible) - dead) <= 1
    assert not any(task.right(f"<answer>\n{digit}\n</answer>", NEVER) for digit in range(10))
    assert len(set(texts)) == len(texts)
    assert not {question.text for question in task.test} & set(texts)
    assert [question.text for question in DialPool(dead_share).train] == texts


def test_a_prior_is_the_uniform_training_of_another_seed() -> None:
    registration = registered()
    first, others = trainings(registration, primary=True)
    assert len(first) == len(others) == len(registration.seeds) == 16
    assert all(seed != other and f"uniform {share:g} {other}" in first for _, share, seed, other in others.values())
    everything = [one for some in trainings(registration, primary=False) for one in some]
    assert len(everything) == len(set(everything)) == 5 * 16 + 2 * 3 * 4


def test_rollouts_are_counted_to_the_controls_final_accuracy() -> None:
    registration = registered()
    curve = {"dead_share": registration.dead_share, "evaluated": [0, 10, 20]}
    found = [
        curve | {"method": "uniform", "accuracy": [0.1, 0.2, 0.3]},
        curve | {"method": "prior", "accuracy": [0.1, 0.3, 0.4]},
    ]
    assert share_of_rollouts(registration, found) == 0.5
    assert share_of_rollouts(registration, found[:1]) is None
