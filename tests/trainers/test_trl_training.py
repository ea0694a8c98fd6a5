"""TRL's real trainers on a model of two layers: rewards, metrics, evaluation, checkpoints, ranks."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
from memr_client import RewardClient, RunConfig
from memr_client.errors import UnknownCheckpoint
from memr_client.trl import MemoryCheckpoint, memory_reward, wrap
from support.serving import serving
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

EXAMPLES = Path(__file__).parents[2] / "examples"
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

# The installed versions of transformers and trl warn about each other. The tiny models succeed too rarely for rewards.
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning:torch.*", "ignore:memr. run .* are 0:UserWarning"
)


def example() -> Any:
    spec = importlib.util.spec_from_file_location("trl_grpo", EXAMPLES / "trl_grpo.py")
    sys.modules["trl_grpo"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


trl_grpo = example()
CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@pytest.fixture
def client():
    with RewardClient.embedded(run="r", encoder="hashed") as embedded:
        yield embedded


def functions(client, run="r", verifier=None, **options):
    correct = wrap(verifier or starts_with_the_sum)
    return [correct, memory_reward(client, run=run, outcome=correct, **options)]


def trainer(kind, functions, folder, *callbacks, chat=False, evaluation=False, **settings):
    """A trainer with 16 completions per step, in groups of 4."""
    task = trl_grpo.tiny(seed=0)
    data = task.data
    if chat:
        task.tokenizer.chat_template = CHAT
        data = data.map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})
    make, configure = {"grpo": (GRPOTrainer, GRPOConfig), "rloo": (RLOOTrainer, RLOOConfig)}[kind]
    defaults = {"per_device_train_batch_size": 16, "num_generations": 4, "max_completion_length": 3, "max_steps": 3}
    defaults |= {"beta": 0.0, "use_cpu": True, "bf16": False, "per_device_eval_batch_size": 4, "disable_tqdm": True}
    defaults |= {"logging_steps": 1, "save_strategy": "no", "report_to": "none"}
    defaults |= {"scale_rewards": "batch"} if kind == "grpo" else {}
    return make(
        model=task.model,
        args=configure(output_dir=str(folder), **{**defaults, **settings}),
        reward_funcs=functions,
        train_dataset=data,
        eval_dataset=data.select(range(4)) if evaluation else None,
        processing_class=task.tokenizer,
        callbacks=[*callbacks],
    )


def starts_with_the_sum(completions, answer, **columns):
    texts = [said if isinstance(said, str) else said[0]["content"] for said in completions]
    return [float(text.split(" ")[0] == right) for text, right in zip(texts, answer, strict=True)]


class Digests(TrainerCallback):
    """Step -> the memory's digest after it."""

    def __init__(self, client):
        self.client = client
        self.seen = {}

    def on_step_end(self, args, state, control, **kwargs):
        self.seen[state.global_step] = self.client.run(digest=True).digest


class Crash(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise RuntimeError("crashed")


@pytest.mark.parametrize("kind", ["grpo", "rloo"])
@pytest.mark.parametrize("chat", [False, True], ids=["strings", "chats"])
def test_a_trainer_gets_rewards_logs_their_parts_and_evaluates_without_a_trace(client, tmp_path, kind, chat):
    training = trainer(kind, functions(client), tmp_path, chat=chat, evaluation=True)
    training.train()
    before = client.run(digest=True)
    assert (before.position, before.step) == (3, 2)
    sizes = before.memory
    assert sizes.success.completions + sizes.failure.completions == 3 * 16
    logged = training.state.log_history[0]
    assert {"rewards/memory/mean", "memory/exploit_scaled", "memory/support_failure", "memory/seconds"} <= logged.keys()
    training.evaluate()
    assert "eval_rewards/memory/mean" in training.state.log_history[-1]
    assert client.run(digest=True).digest == before.digest


def test_a_generation_that_serves_several_steps_is_judged_and_scored_once(client, tmp_path):
    judged = []

    def verifier(completions, **columns):
        judged.append(completions)
        return starts_with_the_sum(completions, **columns)

    asked = functions(client, verifier=verifier)
    trainer("grpo", asked, tmp_path, steps_per_generation=2, num_iterations=2, max_steps=8).train()
    assert client.run().position == len(judged) == 2


def test_asynchronous_grpo_scores_whole_groups_side_by_side(client):
    from accelerate import PartialState
    from trl.experimental.async_grpo.async_rollout_worker import RolloutGroup, TrainingSequence, _AsyncRolloutLoop

    PartialState(cpu=True)  # the trainer's logger needs it
    names = {"reward_funcs": functions(client), "reward_func_names": ["correct", "memory"]}
    loop = SimpleNamespace(**names, _env_reward_types=[], _provides_rollout_reward=False)

    def group(number):
        return RolloutGroup(
            prompts=[[{"role": "user", "content": f"{number}+1="}]] * 4,
            reward_kwargs={"answer": [str(number + 1)] * 4},
            completions=[[{"role": "assistant", "content": str(answer)}] for answer in range(4)],
            completions_ids=[[2]] * 4,
            completions_sequences=[[TrainingSequence([1, 2], [0, 1], [0.0, -1.0], None)]] * 4,
            tool_call_counts=[0] * 4,
            tool_failure_counts=[0] * 4,
            model_version=0,
            group_id=number,
            env_rewards=[None] * 4,
            rollout_rewards=[None] * 4,
        )

    async def score():
        return await asyncio.gather(*(_AsyncRolloutLoop._score_group(loop, group(number)) for number in range(3)))

    right = [[sample.metrics["rewards/correct"] for sample in samples] for samples in asyncio.run(score())]
    assert right == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert client.run().position == 3
    assert client.run().memory.success.completions == 3


def test_group_normalisation_is_noticed_in_a_real_trainer(client, tmp_path):
    asked = functions(client)
    with pytest.warns(UserWarning, match="however small its weight"):
        trainer("grpo", asked, tmp_path, MemoryCheckpoint(asked[1]), scale_rewards="group", max_steps=1).train()


def test_a_trainer_that_crashed_resumes_with_the_memory_of_its_checkpoint(client, tmp_path):
    save = {"save_strategy": "steps", "save_steps": 2, "max_steps": 7}

    def train(run, folder, *callbacks, resume=None):
        watch = Digests(RewardClient(run=run, transport=client._transport, url=client.url))
        asked = functions(client, run, config=RunConfig())
        training = trainer("grpo", asked, tmp_path / folder, MemoryCheckpoint(asked[1]), watch, *callbacks, **save)
        try:
            training.train(resume_from_checkpoint=resume)
        except RuntimeError as error:
            assert str(error) == "crashed"  # noqa: PT017
        return watch.seen

    whole = train("whole", "whole")
    assert len(whole) == len(set(whole.values())) == 7
    begun = train("crashed", "crashed", Crash(5))
    assert client.run("crashed").position == 5
    resumed = train("crashed", "crashed", resume=True)
    assert begun | resumed == whole
    assert set(resumed) == {5, 6, 7}
    # Training that starts again at step 0 restores the memory of step 0.
    with pytest.warns(UserWarning, match="goes back to 'checkpoint-0' and leaves 7 records"):
        assert train("crashed", "again") == whole
    client.delete_checkpoint("crashed", "checkpoint-7")
    with pytest.raises(UnknownCheckpoint, match="checkpoint-7"):
        train("crashed", "crashed", resume=True)


def test_memory_checkpoints_go_with_the_folders_that_the_trainer_removes(client, tmp_path):
    asked = functions(client)
    limit = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 2}
    trainer("grpo", asked, tmp_path, MemoryCheckpoint(asked[1]), max_steps=4, **limit).train()
    names = [checkpoint.name for checkpoint in client.checkpoints()]
    assert names == ["checkpoint-0", "checkpoint-3", "checkpoint-4"]
    assert {checkpoint.step for checkpoint in client.checkpoints()} == {0, 3, 4}
    # A later process knows the folders that an earlier one made.
    trainer("grpo", asked, tmp_path, MemoryCheckpoint(asked[1]), max_steps=5, **limit).train(
        resume_from_checkpoint=True
    )
    assert {checkpoint.name for checkpoint in client.checkpoints()} == {"checkpoint-0", "checkpoint-4", "checkpoint-5"}


def test_two_ranks_get_the_rewards_of_one_though_a_group_is_split_over_both():
    quick = ["--runs", "1", "--steps", "3", "--encoder", "hashed"]
    command = [sys.executable, BENCHMARKS / "trl_ranks.py", *quick]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "one rank gets the same rewards: yes" in done.stdout


def test_the_example_trains_saves_and_goes_on(tmp_path):
    arguments = ["--tiny", "--output", str(tmp_path)]
    changes = {"max_steps": 2, "save_steps": 2, "disable_tqdm": True}
    assert trl_grpo.last_checkpoint(str(tmp_path)) is None
    first = trl_grpo.make_trainer(trl_grpo.parse(arguments), **changes)
    first.train()
    memory = first.reward_funcs[-1]
    assert memory.client.run("trl-grpo").position == 2
    memory.client.close()
    (tmp_path / "checkpoint-9").mkdir()  # an incomplete one
    assert trl_grpo.last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-2")
    second = trl_grpo.make_trainer(trl_grpo.parse([*arguments, "--resume"]), **{**changes, "max_steps": 3})
    second.train(resume_from_checkpoint=trl_grpo.last_checkpoint(str(tmp_path)))
    client = second.reward_funcs[-1].client
    assert (client.run("trl-grpo").position, client.run("trl-grpo").branch) == (3, 1)
    client.close()


def test_the_paper_recipe_trains_a_model_of_a_folder_on_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    task = trl_grpo.tiny(seed=0)
    task.tokenizer.chat_template = CHAT
    for part in (task.model, task.tokenizer):
        part.save_pretrained(tmp_path / "model")
    rows = [{"question": f"What is {n} + 1000?", "answer": f"It is <<{n}+1000>>\n#### 1,00{n}"} for n in range(8)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folders = ["--model", str(tmp_path / "model"), "--data", str(tmp_path / "train.jsonl"), "--output", str(tmp_path)]
    changes = {"use_cpu": True, "max_completion_length": 4, "max_steps": 1, "save_strategy": "no"}
    with serving() as url:
        training = trl_grpo.make_trainer(trl_grpo.parse(["--url", url, *folders]), **changes, disable_tqdm=True)
        with pytest.warns(UserWarning, match="scale_rewards='group'"):
            training.train()
        memory = training.reward_funcs[-1]
        info = memory.client.run("trl-grpo")
        memory.client.close()
    assert training.train_dataset[0]["answer"] == "1000"
    assert len(training.reward_funcs) == 6
    assert (info.config.max_prompts, info.config.reasoning_tags) == (8, ("<reasoning>", "</reasoning>"))
    assert info.memory.failure.completions == 16


def test_the_paper_recipe_of_the_example_rewards_answer_and_format():
    good = "<reasoning>\n6 * 7 = 42\n</reasoning>\n<answer>\n42\n</answer>\n"
    said = [[{"role": "assistant", "content": text}] for text in (good, good.replace("\n", ""), "42")]
    assert trl_grpo.correctness(said, answer=["42"] * 3) == [1, 1, 1]
    assert trl_grpo.integer_answer(said) == [0.5, 0.5, 0.5]
    assert trl_grpo.strict_format(said) == [0.5, 0, 0]
    assert trl_grpo.soft_format(said) == [0.5, 0.5, 0]
    assert trl_grpo.tag_count(said) == [0.5, 0, 0]
