"""Sums as a learning policy might write them, scored step by step by verl's reward worker with memr's reward manager.

memr serve &
bash examples/verl_grpo.sh --tiny

Nothing is trained: the completions are generated here and are right more often from step to step. This example does not
show whether memr helps. Arguments are passed on to verl as settings.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("VERL_LOGGING_LEVEL", "ERROR")

import numpy as np
import torch
import verl
from hydra import compose, initialize_config_dir
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from verl import DataProto
from verl.experimental.reward_loop import RewardLoopWorker

STEPS, PROMPTS, GROUP = 12, 8, 8
LETTERS = ["<pad>", "<eos>", *"0123456789+= #"]
SHOWN = ("outcome", "score", "exploit", "explore", "support_success", "support_failure")


def save_tokenizer(folder: str) -> PreTrainedTokenizerFast:
    """Save a tokenizer of single characters where verl expects the policy's."""
    characters = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(LETTERS)}, unk_token=" "))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    characters.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=characters, pad_token="<pad>", eos_token="<eos>")
    tokenizer.save_pretrained(folder)
    return tokenizer


def sample(one: int, other: int, skill: float) -> str:
    """A completion that is right with probability `skill`."""
    result = one + other if random.random() < skill else random.randrange(19)
    return f"{one} + {other} = {result} #### {result}"


def batch(step: int, tokenizer: Any) -> DataProto:
    """A step's samples as verl's agent loop passes them to a reward worker: GROUP samples per prompt."""
    sums = [(random.randrange(10), random.randrange(10)) for _ in range(PROMPTS)]
    rows = [(prompt, index) for prompt in range(PROMPTS) for index in range(GROUP)]
    tokens = [tokenizer(sample(*sums[prompt], skill=step / STEPS))["input_ids"] for prompt, _ in rows]
    width = max(map(len, tokens))
    responses = torch.tensor([row + [0] * (width - len(row)) for row in tokens])
    prompts = torch.ones(len(rows), 1, dtype=torch.long)
    columns: dict[str, list[Any]] = {
        "uid": [f"step {step} prompt {prompt}" for prompt, _ in rows],
        "session_id": [index for _, index in rows],
        "global_steps": [step] * len(rows),
        "raw_prompt": [[{"role": "user", "content": "{} + {} =".format(*sums[prompt])}] for prompt, _ in rows],
        "data_source": ["openai/gsm8k"] * len(rows),
        "reward_model": [{"ground_truth": str(sum(sums[prompt]))} for prompt, _ in rows],
        "extra_info": [{"split": "train", "index": prompt} for prompt, _ in rows],
    }
    return DataProto.from_dict(
        tensors={
            "prompts": prompts,
            "responses": responses,
            "attention_mask": torch.cat([prompts, (responses != 0).long()], dim=1),
        },
        non_tensors={name: np.fromiter(values, dtype=object) for name, values in columns.items()},
    )


async def play(settings: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = save_tokenizer(folder)
        with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
            config = compose(
                "ppo_trainer",
                overrides=[
                    f"actor_rollout_ref.model.path={folder}",
                    f"actor_rollout_ref.rollout.n={GROUP}",
                    "+reward.reward_kwargs.memr.config={explore_warmup_steps: 3}",
                    *settings,
                ],
            )
        worker = RewardLoopWorker(config)
    for step in range(STEPS):
        scored = await worker.compute_score_batch(batch(step, tokenizer))
        parts = [one["reward_extra_info"] for one in scored]
        means = {name: float(np.mean([part[name] for part in parts])) for name in SHOWN}
        print(f"step {step:2}:", "  ".join(f"{name} {value:6.3f}" for name, value in means.items()), flush=True)


if __name__ == "__main__":
    random.seed(0)
    asyncio.run(play(sys.argv[1:]))
