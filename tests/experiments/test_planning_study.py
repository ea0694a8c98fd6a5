"""The pool with dead questions, and which trainings the study of planning has."""

from __future__ import annotations

import pytest

from benchmarks.planning_study import tables
from benchmarks.planning_study.__main__ import trainings
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


def finished(method: str, seed: int, accuracy: list[float]) -> dict[str, object]:
    """A finished training on the registered pool."""
    measures = {"accuracy": accuracy, "area": sum(accuracy) / 3, "final": accuracy[-1], "spread": [0.5, 1.0]}
    return {"dead_share": registered().dead_share, "evaluated": [0, 10, 20], "method": method, "seed": seed} | measures


def test_rollouts_are_counted_to_the_controls_final_accuracy() -> None:
    found = [finished("uniform", 300, [0.1, 0.2, 0.3]), finished("prior", 300, [0.1, 0.3, 0.4])]
    assert tables.share_of_rollouts(registered(), found, "prior") == 0.5
    assert tables.share_of_rollouts(registered(), found, "uniform") == 1
    assert tables.share_of_rollouts(registered(), found[:1], "prior") is None


def test_the_tables_hold_every_seed_and_compare_only_what_is_finished() -> None:
    seeds = registered().seeds
    uniform = [finished("uniform", seed, [0.1, 0.2, 0.3 + 0.001 * place]) for place, seed in enumerate(seeds)]
    prior = [finished("prior", seed, [0.1, 0.4, 0.5 + 0.002 * place]) for place, seed in enumerate(seeds)]
    whole, partly = [*uniform, *prior], [*uniform, *prior[1:]]
    assert [row["seeds"] for row in tables.arms(registered(), whole)["rows"]] == [seeds, seeds]
    (row,) = tables.compared(registered(), whole)["rows"]
    assert (row["method"], row["control"], row["seeds"], row["holds"]) == ("prior", "uniform", 16, "yes")
    assert row["low"] <= row["difference"] <= row["high"]
    assert tables.compared(registered(), partly)["rows"] == []
