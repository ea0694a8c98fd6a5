"""SmolLM2-135M-Instruct, where `make setup-smollm2` has installed it: two trainers train it, with memr."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from memr_client import RewardClient
from memr_client.trl import memory_reward
from support.serving import serving

from examples.grpo import Config, smollm2, train
from examples.grpo.tasks.stories import Stories

INSTALLED = all(find_spec(name) for name in (smollm2.PACKAGE, "gguf"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.smollm2,
    pytest.mark.skipif(not INSTALLED, reason=f"SmolLM2 is not installed: {smollm2.REMEDY}"),
    pytest.mark.filterwarnings("ignore"),  # of the libraries that read GGUF
]
SECONDS = ("rollout_s", "reward_s", "update_s")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model as transformers loads it."""
    folder = tmp_path_factory.mktemp("models")
    smollm2.folder(folder)
    return folder


def config(kept: Path, output: Path, **others: object) -> Config:
    fields = {
        "model": "smollm2", "task": "stories", "lessons": 0, "warm_starts": kept, "output": output, "steps": 2,
        "prompts_per_step": 2, "group_size": 4, "micro_batch": 4, "max_completion": 24, "kl": 0.0, "save_every": 1,
        "memory": "memory-r+", "encoder": "hashed", "eval_questions": 2,
    }  # fmt: skip
    return Config(**{**fields, **others})


def test_a_training_that_is_killed_continues_bit_for_bit(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(config(kept, tmp_path / "whole"))

    class KilledError(Exception):
        pass

    def killed(*arguments: object) -> None:
        if arguments[6] == 1:  # the second step
            raise KilledError
        return one_step(*arguments)

    trainer = import_module("examples.grpo.train")
    one_step = trainer.one_step
    monkeypatch.setattr(trainer, "one_step", killed)
    with pytest.raises(KilledError):
        train(config(kept, tmp_path / "killed"))
    monkeypatch.undo()
    resumed = train(config(kept, tmp_path / "killed"))
    assert resumed.memory_digest == whole.memory_digest
    assert [without_seconds(row) for row in resumed.rows] == [without_seconds(row) for row in whole.rows]
    pairs = zip(resumed.policy.model.parameters(), whole.policy.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    shutil.rmtree(tmp_path)  # gigabytes of checkpoints


def test_trl_trains_it_with_memr_and_the_run_replays_bit_for_bit(kept: Path, tmp_path: Path) -> None:
    from trl import GRPOConfig, GRPOTrainer

    task = Stories()
    data = Dataset.from_list(
        [{"prompt": [{"role": "user", "content": one.text}], "answer": one.answer} for one in task.train[:8]]
    )

    def correctness(completions: list[list[dict[str, str]]], answer: list[str], **columns: object) -> list[float]:
        return [float(task.right(one[0]["content"], right)) for one, right in zip(completions, answer, strict=True)]

    settings = GRPOConfig(
        output_dir=str(tmp_path / "trl"), max_steps=3, per_device_train_batch_size=8, num_generations=4,
        max_completion_length=24, use_cpu=True, bf16=True, report_to=[], save_strategy="no", logging_steps=1,
        disable_tqdm=True,
    )  # fmt: skip
    with serving() as url, RewardClient(url, run="smollm2") as client:
        reward = memory_reward(client, outcome=correctness, preset="memory-r+")
        GRPOTrainer(
            model=str(smollm2.folder(kept)), reward_funcs=[correctness, reward], args=settings, train_dataset=data
        ).train()
        run = client.run()
        assert run.step == 2
        assert run.memory.failure.completions + run.memory.success.completions == 24
        command = [sys.executable, "-m", "memr_service", "verify", "smollm2", "--url", url]
        verified = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert verified.returncode == 0, verified.stdout + verified.stderr


def without_seconds(row: dict[str, float | None]) -> dict[str, float | None]:
    return {name: value for name, value in row.items() if name not in SECONDS}
