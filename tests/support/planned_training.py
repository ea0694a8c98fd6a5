"""A training of TRL with planned prompts, in this process or, as a program, on each rank of torchrun.

A third of the 30 prompts is solved, a third impossible; whether a completion of the others is right depends on its
text. The model is that of `examples/trl_grpo.py --tiny`.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import trl_grpo
from datasets import Dataset
from memr_client import RewardClient
from memr_client.trl import MemoryCheckpoint, memory_reward, plan_prompts, wrap
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

KINDS = {"grpo": (GRPOTrainer, GRPOConfig), "rloo": (RLOOTrainer, RLOOConfig)}
PROMPTS, GROUP = 30, 4


class Recorded:
    """A memory reward that notes what it was asked and what it said."""

    __name__ = "memory"

    def __init__(self, memory: Any, outcome: Any, file: Path | None) -> None:
        self.rows: list[dict[str, list[Any]]] = []
        self._memory = memory
        self._outcome = outcome
        self._file = file

    def __call__(self, prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
        rewards: list[float | None] = self._memory(prompts=prompts, completions=completions, **columns)
        outcomes = self._outcome(prompts=prompts, completions=completions, **columns)
        named = {"ids": columns["id"], "prompts": prompts, "completions": completions}
        self.rows.append({**named, "outcomes": outcomes, "rewards": rewards})
        if self._file is not None:
            self._file.write_text(json.dumps(self.rows))
        return rewards


def right(completions: list[str], id: list[int], **columns: Any) -> list[float]:
    """Whether each completion is right."""
    drawn = [zlib.crc32(f"{number} {text}".encode()) % 2 for number, text in zip(id, completions, strict=True)]
    return [float((True, False, luck)[number % 3]) for number, luck in zip(id, drawn, strict=True)]


def make(
    client: RewardClient, run: str, folder: Path, *callbacks: Any, kind: str = "grpo", ids: bool = True, **settings: Any
) -> tuple[Any, Recorded]:
    """A trainer and the record of its rewards. `ids`: the memory is told the prompts' ids."""
    task = trl_grpo.tiny(seed=0)
    prompts = [f"{number // 10}+{number % 10}=" for number in range(PROMPTS)]
    correct = wrap(right)
    memory = memory_reward(client, run=run, outcome=correct, prompt_ids="id" if ids else None)
    rank = os.environ.get("RANK")
    recorded = Recorded(memory, correct, None if rank is None else folder / f"rank-{rank}.json")
    defaults = {"per_device_train_batch_size": 16, "num_generations": GROUP, "max_completion_length": 3}
    defaults |= {"beta": 0.0, "use_cpu": True, "bf16": False, "disable_tqdm": True, "save_strategy": "no"}
    defaults |= {"report_to": "none", "gradient_checkpointing": False, "learning_rate": 1e-3}
    defaults |= {"scale_rewards": "batch"} if kind == "grpo" else {}
    trainer_type, config = KINDS[kind]
    trainer = trainer_type(
        model=task.model,
        args=config(output_dir=str(folder), **{**defaults, **settings}),
        reward_funcs=[correct, recorded],
        train_dataset=Dataset.from_dict({"prompt": prompts, "id": [*range(PROMPTS)]}),
        processing_class=task.tokenizer,
        callbacks=[MemoryCheckpoint(memory), *callbacks],
    )
    plan_prompts(trainer, memory)
    return trainer, recorded


if __name__ == "__main__":
    url, run, folder, settings = sys.argv[1:]
    with RewardClient(url) as client:
        make(client, run, Path(folder), **json.loads(settings))[0].train()
