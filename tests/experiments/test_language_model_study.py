"""The study of a pretrained model: its queue, its tables, and trainings that are stopped and start from another."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_llama import save_llama

from benchmarks.hidden_states import means
from benchmarks.language_model_study import tables
from benchmarks.language_model_study.__main__ import DRY, Queue
from benchmarks.language_model_study.arms import ARMS
from benchmarks.language_model_study.registration import registered
from benchmarks.language_model_study.training import Training, fields, train_one
from examples.grpo.causal_lm import CausalLM
from examples.grpo.config import Config
from examples.grpo.train import train

# The installed versions of transformers and peft warn about each other.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:memr:UserWarning"),
    pytest.mark.usefixtures("one_core"),
]


def a_training(folder: Path, arm: str, seed: int, **changes: Any) -> Training:
    model = str(folder / "model")
    if not Path(model).exists():
        save_llama(Path(model))
    few = {**dict(DRY), "max_completion": 8, "save_every": 1, **changes}
    return Training(arm, seed, 701 if seed == 700 else 700, model, 2, tuple(few.items()), folder)


def test_the_queue_begins_with_two_seeds_of_the_primary_comparison_and_has_each_training_once() -> None:
    registration = registered()
    assert {*registration.arms} == {*ARMS} == {arm for pair in registration.pairs for arm in pair} | {"shuffled"}
    rounds = [list(some.values()) for some in Queue(registration).rounds() if some]
    assert [(one.arm, one.seed) for one in rounds[0]] == [
        (arm, seed) for seed in registration.seeds[:2] for arm in ("r1", "default", "shuffled")
    ]
    done = set[str]()
    for some in rounds:
        taught_by = {one.teacher.key for one in some if one.teacher is not None}
        assert taught_by <= done  # a prior run is finished before the round that needs it
        done |= {one.key for one in some}
    assert len(done) == len(ARMS) * len(registration.seeds)
    for some in rounds:
        assert all(Config.model_validate(fields(one)).task == registration.task for one in some)


def test_a_stopped_training_continues_and_leaves_its_row_and_its_run(tmp_path: Path) -> None:
    training = a_training(tmp_path, "r1", 700)
    whole = train_one(training)
    assert not training.place.exists()
    assert training.run_file.exists()
    train(Config.model_validate({**fields(training), "steps": 1}))  # it is stopped after its first step
    again = train_one(training)
    different = {"seconds", "reward_share", "evaluated", "accuracy", "area"}  # it was evaluated where it stopped
    assert {name: again[name] for name in again if name not in different} == {
        name: whole[name] for name in whole if name not in different
    }
    planned = train_one(a_training(tmp_path, "prior", 701))
    assert planned["method"] == "prior"
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(FileNotFoundError):
        train_one(a_training(tmp_path, "prior", 701))


def finished(method: str, seed: int, area: float) -> dict[str, Any]:
    series = {name: [0.25, 0.5] for name in ("outcome", "format", "length", "diversity", "zero_variance_outcome")}
    return {"method": method, "seed": seed, "area": area, "final": area, "accuracy": [0.1, area], **series}


def test_the_tables_hold_every_seed_and_compare_what_all_arms_have_finished() -> None:
    registration = registered()
    found = [finished("r1", 700, 0.25), finished("r1", 701, 0.5), finished("default", 700, 0.375)]
    (r1, default) = tables.arms(registration, found)["rows"]
    assert (r1["n"], r1["each"], r1["area"], default["n"]) == (2, [0.25, 0.5], 0.375, 1)
    assert tables.collapse(registration, found)["rows"][0]["outcome"] == "0.25 to 0.5"
    assert not list(tables.comparisons(registration, found))
    found = [finished(arm, seed, 0.5 + 0.1 * (arm == "default")) for arm in ARMS for seed in (700, 701)]
    compared = list(tables.comparisons(registration, found))
    assert [(method, control) for method, control, _ in compared] == registration.pairs
    assert compared[0][2].difference == pytest.approx(0.1)
    assert not compared[0][2].holds


def test_mean_hidden_states_are_those_of_each_text_alone(tmp_path: Path) -> None:
    policy = CausalLM(str(save_llama(tmp_path)), None, 64, False, None)
    prompts, completions = [[5, 6, 7], [8, 9]], [[10, 11], [12, 13, 14]]
    rows = means(policy, prompts, completions)
    before = means(policy, prompts, [[], []])
    for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        with torch.no_grad():
            states = policy.model.model(torch.tensor([prompt + completion])).last_hidden_state[0]
        np.testing.assert_allclose(rows[number], states[len(prompt) :].mean(0), atol=1e-5)
        np.testing.assert_allclose(before[number], states[: len(prompt)].mean(0), atol=1e-5)
