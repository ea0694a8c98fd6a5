"""The pools, the controls, and which trainings the study of planning has."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from memr_client.schemas import CalibrationBin

from benchmarks.planning_study import tables, training
from benchmarks.planning_study.__main__ import PUBLISHED, trainings
from benchmarks.planning_study.arms import ARMS
from benchmarks.planning_study.calibration import backtest, together
from benchmarks.planning_study.controls import (
    DynamicSampling,
    Greso,
    GresoWithDynamicSampling,
    adapted,
    keep_probability,
)
from benchmarks.planning_study.registration import Part, parts, registered
from benchmarks.planning_study.training import Training, config_of, train_one
from examples.grpo.config import Config
from examples.grpo.rollout import Rollout
from examples.grpo.tasks.chain_sum import ChainSum, working
from examples.grpo.tasks.dial import Dial
from examples.grpo.tasks.dial_pool import LEARNABLE, NEVER, SHORT, DialDead, DialPool
from examples.grpo.tasks.task import Question

PARTS = parts()
POOL = registered().dead_share


@pytest.mark.parametrize("dead_share", [0.0, 0.3, 0.6, 0.8])
def test_a_pool_has_the_share_of_other_questions_half_short_half_impossible(dead_share: float) -> None:
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


def test_a_dead_pool_has_the_same_questions_and_teaches_the_short_ones() -> None:
    task, dice = DialDead(0.6), random.Random(0)
    assert [question.text for question in task.train] == [question.text for question in DialPool(0.6).train]
    shown = [task.demonstration(dice) for _ in range(400)]
    short = [(text, worked) for text, worked in shown if text.count(",") + 1 == SHORT]
    assert 0.2 < len(short) / len(shown) < 0.3
    answers = {question.text: question.answer for question in task.train}
    assert any(text in answers for text, _ in short)
    assert all(task.right(worked, answers[text]) for text, worked in short if text in answers)


def test_a_sum_is_worked_out_term_by_term() -> None:
    assert working("4 + 3 - 12") == "4, + 3 = 7, - 12 = -5"
    assert working("7") == "7"


def test_sums_come_from_the_package_and_are_judged_by_it() -> None:
    task, dice = ChainSum(), random.Random(0)
    assert (len(task.train), len(task.test)) == (240, 150)
    held_out = {question.text for question in task.test}
    assert not {question.text for question in task.train} & held_out
    for question in task.train[:40]:
        expression = question.text.partition(": ")[2].removesuffix(" =")
        assert working(expression).rpartition("= ")[2] == question.answer
        assert task.right(f"<answer>\n{question.answer}\n</answer>", question.answer)
        assert not task.right(f"<answer>\n{int(question.answer) + 1}\n</answer>", question.answer)
        assert not task.right("", question.answer)
    for text, shown in (task.demonstration(dice) for _ in range(40)):
        assert text not in held_out
        assert (task.mode(shown), task.right(shown, shown.rpartition("= ")[2].partition("\n")[0])) == ("worked", True)


# The controls


def plain_keep(visits: list[float], p_easy: float, p_hard: float) -> float:
    """The rule as GRESO's code has it: count back over the trace while it stays all right, or all wrong."""
    if not visits:
        return 1.0
    for value, p in ((1.0, p_easy), (0.0, p_hard)):
        count = 0
        for visit in reversed(visits):
            if visit != value:
                break
            count += 1
        if count:
            return max(p**count, 0.01)
    return 1.0


def test_greso_skips_by_the_published_rule() -> None:
    dice = random.Random(1)
    for _ in range(500):
        visits = [dice.choice([0.0, 0.0, 0.5, 1.0, 1.0]) for _ in range(dice.randrange(8))]
        solved, impossible = dice.random(), dice.random()
        asked = keep_probability(visits, {"solved": solved, "impossible": impossible})
        assert asked == pytest.approx(plain_keep(visits, solved, impossible), abs=1e-12)
    p = {"solved": 0.5, "impossible": 0.5}
    assert adapted(p, [1.0, 0.5, 0.5, 0.5]) == pytest.approx({"solved": 0.49, "impossible": 0.51})
    assert adapted(p, [0.0] * 4) == pytest.approx({"solved": 0.51, "impossible": 0.49})
    for shares, limit in (([0.0, 1.0], 0.05), ([0.5], 0.95)):
        for _ in range(100):
            p = adapted(p, shares)
        assert p == {"solved": limit, "impossible": limit}


def step_of(questions: list[Question], shares: list[float], size: int = 4) -> tuple[Rollout, Any, torch.Tensor]:
    """A step's completions, rewards and advantages, with given shares of right completions."""
    every = [question for question in questions for _ in range(size)]
    texts = [str(number) for number in range(len(every))]
    sampled = Rollout(every, [[0]] * len(every), [[1]] * len(every), texts, [False] * len(every))
    outcome = torch.tensor([float(place < share * size) for share in shares for place in range(size)])
    return sampled, SimpleNamespace(outcome=outcome), torch.arange(len(every), dtype=torch.float)


def control(kind: Any, m: int = 30) -> Any:
    """A control that chooses three of m questions a step."""
    config = Config(model="tiny", task="dial", prompts_per_step=3, group_size=4)
    return kind(config, SimpleNamespace(train=[Question(str(number), "1") for number in range(m)]), None, None)


def test_dynamic_sampling_learns_from_full_batches_and_throws_the_rest_away() -> None:
    dapo = control(DynamicSampling)
    questions = [Question(name, "1") for name in "abc"]
    assert dapo.lessons(*step_of(questions, [0.5, 0.0, 0.25])) is None
    learned, advantages = dapo.lessons(*step_of(questions, [0.75, 0.5, 1.0]))
    assert [question.text for question in learned.questions] == [*"aaaaccccaaaa"]
    assert learned.texts == [*map(str, (0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3))]
    assert advantages.tolist() == [float(text) for text in learned.texts]
    assert dapo.lessons(*step_of(questions, [0.5, 0.5, 0.0])) is None  # the fourth group was not kept


@pytest.mark.parametrize("kind", [Greso, GresoWithDynamicSampling])
def test_greso_asks_dead_questions_less_often(kind: Any) -> None:
    greso, asked = control(kind), Counter[str]()
    for step in range(200):
        questions = greso.questions(step)
        assert len(questions) == 3
        asked.update(question.text for question in questions)
        shares = [float(int(question.text) % 3) / 2 for question in questions]  # impossible, with spread, solved
        learned = greso.lessons(*step_of(questions, shares))
        assert learned is not None or kind is GresoWithDynamicSampling
        if step == 9:
            assert set(asked.values()) == {1}  # nothing is skipped before it was seen
    with_spread, dead = (sum(asked[str(n)] for n in range(30) if (n % 3 == 1) == kept) for kept in (True, False))
    assert with_spread / 10 > 3 * dead / 20


# The trainings


def test_what_is_registered_can_be_trained_and_compared() -> None:
    for part in PARTS.values():
        assert {*part.arms} <= {*ARMS}
        assert {arm for pair in part.pairs for arm in pair} <= {*part.arms}
        first, others = trainings([part])
        assert {"uniform", "own"} & {one.arm for one in first.values()}
        for one in others.values():
            assert one.seed != one.other
            assert one.teacher.key in first
            assert one.teacher.arm == ("uniform-weak" if one.arm == "weaker" else "uniform")
    first, others = trainings([PARTS["mixed"]], ["uniform", "prior"])
    assert len(first) == len(others) == len(registered().seeds) == 16
    everything = [one for some in trainings([PARTS["dead"], PARTS["curve"]]) for one in some]
    assert len(everything) == len(set(everything)) == 5 * 16 + 2 * 3 * 4
    every = [one for some in trainings([*PARTS.values()]) for one in some]
    assert len(every) == len(set(every)) == len(everything) + 9 * 4 + 4 * 4 + 6 * 16  # with `uniform-weak`


def test_every_arm_samples_equally_much_and_priors_are_told_when_they_are_from() -> None:
    for arm in ARMS:
        config = config_of(Training(arm, POOL, 300, 301))
        assert (config.steps, config.group_size * config.prompts_per_step) == (60, 128)
        assert config.plan == (arm in ("own", "prior", "prior-4", "placebo", "oracle", "stale", "weaker"))
    told = {arm: config_of(Training(arm, POOL, 300, 301)).memory["prior_runs"][0]["at"] for arm in ("prior", "stale")}
    assert told == {"prior": "first", "stale": "last"}
    assert config_of(Training("own", "chain-sum", 300, 301)).task == "chain-sum"


@pytest.fixture
def quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings in an own folder, with a model that was hardly taught."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Dial, "lessons", 2)
    monkeypatch.setitem(ARMS, "uniform-weak", replace(ARMS["uniform-weak"], fields={"lessons": 1}))
    monkeypatch.setattr(training, "GROUP", 4)
    monkeypatch.setattr(training, "COMPLETIONS", 12)


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_every_arm_trains() -> None:
    for arm in sorted(ARMS, key=lambda arm: ARMS[arm].prior_of is not None):
        for seed in (1, 2) if arm.startswith("uniform") else (1,):
            one = Training(arm, 0.0, seed, 3 - seed, steps=2)
            row = train_one(one)
            assert (row["method"], row["dead_share"], row["seed"], row["completions"]) == (arm, 0.0, seed, 24)
            assert row["evaluated"] == [0, 2]
            assert all(math.isfinite(value) for value in (row["area"], row["final"], *row["spread"]))
            assert row["updates"] <= 2
            if arm == "uniform":
                of_run = backtest(one.run_file)
                assert (of_run.groups, of_run.known) == (6, 0)
            assert one.run_file.exists() == (arm in ("uniform", "uniform-weak"))


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_sums_train_with_a_placebo_of_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChainSum, "lessons", 2)
    for one in (Training("uniform", "chain-sum", 1, 2, steps=1), Training("placebo", "chain-sum", 2, 1, steps=1)):
        row = train_one(one)
        assert (row["method"], row["dead_share"], row["evaluated"]) == (one.arm, "chain-sum", [0, 1])


def finished(method: str, seed: int, accuracy: list[float]) -> dict[str, object]:
    """A finished training on the registered pool."""
    measures = {"accuracy": accuracy, "area": sum(accuracy) / 3, "final": accuracy[-1], "spread": [0.5, 1.0]}
    return {"dead_share": POOL, "evaluated": [0, 10, 20], "method": method, "seed": seed} | measures


def test_rollouts_are_counted_to_the_controls_final_accuracy() -> None:
    uniform, prior = [finished("uniform", 300, [0.1, 0.2, 0.3])], [finished("prior", 300, [0.1, 0.3, 0.4])]
    assert tables.share_of_rollouts(prior, uniform) == 0.5
    assert tables.share_of_rollouts(uniform, uniform) == 1
    assert tables.share_of_rollouts(uniform, prior) is None
    assert tables.share_of_rollouts([], uniform) is None


def test_the_tables_hold_every_seed_and_compare_only_what_is_finished() -> None:
    part, seeds = PARTS["mixed"], registered().seeds
    uniform = [finished("uniform", seed, [0.1, 0.2, 0.3 + 0.001 * place]) for place, seed in enumerate(seeds)]
    prior = [finished("prior", seed, [0.1, 0.4, 0.5 + 0.002 * place]) for place, seed in enumerate(seeds)]
    whole, partly = [*uniform, *prior], [*uniform, *prior[1:]]
    assert [row["seeds"] for row in tables.arms([part], whole, "")["rows"]] == [seeds, seeds]
    (row,) = tables.compared(part, whole, "")["rows"]
    assert (row["method"], row["control"], row["seeds"], row["holds"]) == ("prior", "uniform", 16, "yes")
    assert row["low"] <= row["difference"] <= row["high"]
    assert tables.compared(part, partly, "")["rows"] == []
    assert [row["rollouts"] for row in tables.arms([part], partly, "")["rows"]] == [1.0, None]


def test_the_bins_of_several_runs_are_pooled_by_their_groups() -> None:
    some = CalibrationBin(low=0.2, high=0.3, groups=30, foreseen=0.2, seen=0.1)
    others = CalibrationBin(low=0.2, high=0.3, groups=10, foreseen=0.28, seen=0.5)
    empty = CalibrationBin(low=0.2, high=0.3, groups=0, foreseen=None, seen=None)
    pooled = together([some, others, empty])
    assert (pooled.groups, pooled.foreseen, pooled.seen) == (40, pytest.approx(0.22), pytest.approx(0.2))
    assert together([empty, empty]) == empty


def test_a_part_takes_its_own_seeds_of_an_arm_and_tables_without_rows_are_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # without kept runs
    dead = PARTS["dead"]
    found = [finished("uniform", seed, [0.1, 0.2, 0.3]) | {"dead_share": dead.pools[0]} for seed in dead.seeds]
    made = {name: make(PARTS, found) for name, make in PUBLISHED.items()}
    assert [row["n"] for row in made["planning-study"]["rows"]] == [16]
    assert [row["seeds"] for row in made["planning-study-controls"]["rows"]] == [PARTS["controls"].seeds]
    names = {"planning-study", "planning-study-controls", "planning-study-small-groups"}
    assert {name for name, table in made.items() if table["rows"]} == names
    assert made["planning-study"]["rows"][0]["dead"] == 0.6
    small = Part(pools=[POOL], arms=["uniform"], pairs=[], seeds=[7, 8])
    assert (small.other(7), small.other(8)) == (8, 7)
    assert tables.arms([small], found, "")["rows"] == []
