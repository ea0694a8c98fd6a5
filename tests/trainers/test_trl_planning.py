"""TRL's real trainers with planned prompts: what they sample, on one rank and on two, and after a resume."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from datasets import IterableDataset
from memr_client import RewardClient
from memr_client.errors import ServiceUnreachable
from memr_client.trl import memory_reward, plan_prompts
from support.planned_training import GROUP, PROMPTS, make
from support.serving import serving
from transformers import TrainerCallback

# The installed versions of transformers and trl warn about each other.
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning:torch.*", "ignore:memr:UserWarning"
)


@pytest.fixture
def client():
    with RewardClient.embedded(run="r", encoder="hashed") as embedded:
        yield embedded


class Crash(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise RuntimeError("crashed")


def groups(row):
    """The ids of a generation's groups, which must be whole and distinct."""
    ids = row["ids"]
    firsts = ids[::GROUP]
    assert ids == [one for one in firsts for _ in range(GROUP)]
    assert len(set(firsts)) == len(firsts)
    return firsts


def planned(client, run, made, lag, steps, known=0):
    """What plans say when they are asked by hand, each `lag` generations late, without what is in flight."""
    picks = []
    for number, step in enumerate(steps):
        flight = [one for ids in picks[max(number - lag, 0) : number] for one in ids]
        position = 1 + max(number - lag, 0) + known
        asked = client.plan(run, len(made[0]), GROUP, exclude=flight, position=position, step=step)
        picks.append([int(one.prompt_id) for one in asked.picks])
    return picks


@pytest.mark.parametrize("kind", ["grpo", "rloo"])
def test_a_trainer_samples_what_the_plan_says_and_leaves_out_what_is_in_flight(client, tmp_path, kind):
    training, recorded = make(client, "r", tmp_path, kind=kind, max_steps=14)
    training.train()
    made = [groups(row) for row in recorded.rows]
    assert len(made) == 14  # two epochs of seven generations
    assert made == planned(client, "r", made, 1, range(14))
    assert all(not set(one) & set(other) for one, other in pairwise(made))
    pool = client.pool("r")
    seen = {one for ids in made for one in ids}
    assert (pool.prompts, pool.visited, pool.since, client.run("r").position) == (PROMPTS, len(seen), 1, 15)
    late = [number % 3 for ids in made[9:] for number in ids]
    assert late.count(2) > 0.6 * len(late), "a third of the prompts can be learned"


def test_without_ids_prompts_are_known_by_their_text(client, tmp_path):
    for run, ids in (("named", True), ("unnamed", False)):
        training, recorded = make(client, run, tmp_path, ids=ids, max_steps=8)
        training.train()
        assert client.pool(run).visited == len({one for row in recorded.rows for one in row["ids"]})


@pytest.mark.parametrize(
    ("settings", "lag", "steps"),
    [
        ({"steps_per_generation": 2, "num_iterations": 2, "max_steps": 16}, 0, [0, 4, 8, 12]),
        (
            {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4, "max_steps": 5},
            1,
            [0, 1, 2, 3, 4],
        ),
        (
            {"gradient_accumulation_steps": 4, "steps_per_generation": 2, "per_device_train_batch_size": 4},
            2,
            [0, 0, 1, 1, 2, 2],
        ),
    ],
    ids=["a generation of several steps", "accumulated", "several generations in a step"],
)  # fmt: skip
def test_the_lag_is_what_the_data_loader_draws_ahead(client, tmp_path, settings, lag, steps):
    training, recorded = make(client, "r", tmp_path, **{"max_steps": 3, **settings})
    training.train()
    made = [groups(row) for row in recorded.rows]
    assert made == planned(client, "r", made, lag, steps)
    with pytest.raises(ValueError, match=f"lag is -1, but the trainer draws {lag} generations ahead"):
        plan_prompts(training, memory_reward(client, run="r", outcome="id"), lag=-1)


@pytest.mark.parametrize("crash", [3, 8])
@pytest.mark.parametrize("batch", [{}, {"gradient_accumulation_steps": 4, "steps_per_generation": 2}], ids=["1", "2"])
def test_a_resumed_training_samples_what_an_uninterrupted_one_does(client, tmp_path, crash, batch):
    save = {"save_strategy": "steps", "save_steps": 2, "max_steps": 10, **batch}
    whole, all_rows = make(client, "whole", tmp_path / "whole", **save)
    whole.train()
    begun, rows = make(client, "cut", tmp_path / "cut", Crash(crash), **save)
    with pytest.raises(RuntimeError, match="crashed"):
        begun.train()
    resumed, later = make(client, "cut", tmp_path / "cut", **save)
    resumed.train(resume_from_checkpoint=True)
    kept = len(all_rows.rows) - len(later.rows)
    assert 0 < kept <= len(rows.rows) < len(all_rows.rows)
    assert rows.rows[:kept] + later.rows == all_rows.rows
    ends = [client.run(run, digest=True) for run in ("whole", "cut")]
    assert ends[0].digest == ends[1].digest
    assert ends[1].branch > 0


def test_two_ranks_sample_the_same_groups_and_get_the_rewards_of_one(tmp_path):
    settings = {"per_device_train_batch_size": 6, "max_steps": 6, "save_strategy": "steps", "save_steps": 2}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    with serving() as url, RewardClient(url) as client:
        command = [*launcher, "-m", "support.planned_training", url, "two", tmp_path, json.dumps(settings)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[1])
        assert done.returncode == 0, done.stderr
        ranks = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2)]
        joined = [{name: one[name] + other[name] for name in one} for one, other in zip(*ranks, strict=True)]
        made = [groups(row) for row in joined]  # the second of three groups is on both ranks
        assert made == planned(client, "two", made, 1, range(6))
        client.create_run("one", client.run("two").config)
        client.set_pool("one", [*map(str, range(PROMPTS))], [f"{n // 10}+{n % 10}=" for n in range(PROMPTS)])
        for step, row in enumerate(joined):
            columns = [row[name] for name in ("prompts", "completions", "outcomes")]
            answer = client.reward(*columns, run_id="one", step=step, part=0, parts=1, prompt_ids=row["ids"])
            assert answer.rewards == row["rewards"]
        assert planned(client, "one", made, 1, range(6)) == made
        assert client.run("one", digest=True).digest == client.run("two", digest=True).digest


def test_what_cannot_be_planned_is_refused_before_the_training(client, tmp_path):
    training, _ = make(client, "r", tmp_path, max_steps=1)
    memory = memory_reward(client, run="r", outcome="id")
    training.train_dataset = training.train_dataset.select(range(3))
    with pytest.raises(ValueError, match="a generation has 4 prompts, but the data set only 3"):
        plan_prompts(training, memory)
    training.train_dataset = IterableDataset.from_generator(lambda: iter([{"prompt": "1+1="}]))
    with pytest.raises(ValueError, match="needs a data set with rows, not a IterableDataset"):
        plan_prompts(training, memory)


def test_a_pool_of_one_generation_is_sampled_again_and_again(client, tmp_path):
    training, recorded = make(client, "r", tmp_path, per_device_train_batch_size=GROUP * PROMPTS, max_steps=3)
    training.train()
    assert [sorted(groups(row)) for row in recorded.rows] == [[*range(PROMPTS)]] * 3


def test_a_dropped_generation_counts_as_one_from_which_nothing_was_learned(client, tmp_path, monkeypatch):
    training, recorded = make(client, "r", tmp_path, max_steps=4)
    recorded._memory._on_failure = "drop"
    asked = client.reward

    def fails_once(*given, **columns):
        if columns["step"] == 1:
            raise ServiceUnreachable("away")
        return asked(*given, **columns)

    monkeypatch.setattr(client, "reward", fails_once)
    training.train()
    assert client.run("r").position == 1 + 3
    assert len(recorded.rows) == 4
