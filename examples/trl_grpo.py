"""GRPO with an episodic memory in TRL: GSM8K with the Memory-R+ paper's hyper-parameters, or a toy that runs anywhere.

memr serve &
python examples/trl_grpo.py --url http://127.0.0.1:8000       # on one GPU; on several: torchrun --nproc-per-node 4 ...
python examples/trl_grpo.py --tiny                            # on a laptop's CPU, in under a minute, without a server
python examples/trl_grpo.py --tiny --resume                   # continues from the last checkpoint, with its memory

--tiny teaches a two-layer model, created here, to add two digits. It does not show whether memr helps.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_dataset
from memr_client import RewardClient, RunConfig
from memr_client.trl import MemoryCheckpoint, memory_reward, wrap
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer


@dataclass
class Task:
    """The model, its data and its rewards."""

    model: Any
    tokenizer: Any
    data: Dataset
    correctness: Callable[..., list[float]]
    other_rewards: list[Callable[..., list[float]]]
    memory: RunConfig
    weight: float
    """Factor of the memory's reward. A right answer has a reward of 1."""
    training: dict[str, Any]


# GSM8K, as in the paper

SYSTEM = "Respond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>"
TAGS = ("<reasoning>\n", "\n</reasoning>\n", "\n<answer>\n", "\n</answer>")
STRICT = re.compile(r"<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n?", re.DOTALL)
SOFT = re.compile(r"<reasoning>.*?</reasoning>\s*<answer>.*?</answer>", re.DOTALL)


def texts(completions: list[list[dict[str, str]]]) -> list[str]:
    return [messages[0]["content"] for messages in completions]


def answer_in(text: str) -> str:
    """The text between the answer tags, or the whole text if there are none, without thousands separators."""
    return text.rpartition("<answer>")[2].partition("</answer>")[0].strip().replace(",", "")


def correctness(completions: list[Any], answer: list[str], **columns: Any) -> list[float]:
    return [float(answer_in(text) == right) for text, right in zip(texts(completions), answer, strict=True)]


def integer_answer(completions: list[Any], **columns: Any) -> list[float]:
    return [0.5 * answer_in(text).isdigit() for text in texts(completions)]


def strict_format(completions: list[Any], **columns: Any) -> list[float]:
    return [0.5 * bool(STRICT.fullmatch(text)) for text in texts(completions)]


def soft_format(completions: list[Any], **columns: Any) -> list[float]:
    return [0.5 * bool(SOFT.match(text)) for text in texts(completions)]


def tag_count(completions: list[Any], **columns: Any) -> list[float]:
    return [0.125 * sum(text.count(tag) == 1 for tag in TAGS) for text in texts(completions)]


def gsm8k(model: str, data: str) -> Task:
    rows = load_dataset("json", data_files=data) if Path(data).exists() else load_dataset(data, "main")
    questions = rows["train"].map(
        lambda row: {
            "prompt": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": row["question"]}],
            "answer": row["answer"].rpartition("####")[2].strip().replace(",", ""),
        },
        remove_columns=["question"],
    )
    return Task(
        model=model,
        tokenizer=AutoTokenizer.from_pretrained(model, padding_side="left"),
        data=questions,
        correctness=correctness,
        other_rewards=[tag_count, soft_format, strict_format, integer_answer],
        memory=RunConfig(
            preset="memory-r+", k=1, max_prompts=len(questions), reasoning_tags=("<reasoning>", "</reasoning>")
        ),
        weight=1.0,
        training={
            "loss_type": "grpo",
            "learning_rate": 5e-6,
            "adam_beta1": 0.9,
            "adam_beta2": 0.99,
            "weight_decay": 0.1,
            "warmup_steps": 0.1,  # of all steps
            "lr_scheduler_type": "cosine",
            "max_grad_norm": 0.1,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 8,
            "num_generations": 16,
            "max_completion_length": 200,
            "num_train_epochs": 1,
            "bf16": torch.cuda.is_available(),
            "save_steps": 100,
            "save_total_limit": 3,
        },
    )


# A toy: sums of two digits, with a model and a tokenizer that need no files


def starts_with_the_sum(completions: list[str], answer: list[str], **columns: Any) -> list[float]:
    return [float(text.split(" ")[0] == right) for text, right in zip(completions, answer, strict=True)]


def tiny(seed: int) -> Task:
    letters = ["<pad>", "<eos>", *"0123456789+= "]
    characters = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token=" "))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    characters.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=characters, pad_token="<pad>", eos_token="<eos>", padding_side="left"
    )
    torch.set_num_threads(1)  # faster for a model of this size
    torch.manual_seed(seed)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "max_position_embeddings": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True}
    ids = {"vocab_size": len(letters), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    model = Qwen2ForCausalLM(Qwen2Config(**shape, **heads, **ids))
    dice = random.Random(seed)
    sums = [(dice.randrange(5), dice.randrange(5)) for _ in range(4096)]
    return Task(
        model=model,
        tokenizer=tokenizer,
        data=Dataset.from_dict(
            {"prompt": [f"{one}+{other}=" for one, other in sums], "answer": [str(sum(both)) for both in sums]}
        ),
        correctness=starts_with_the_sum,
        other_rewards=[],
        # Deterministic, so that a resumed training equals an uninterrupted one bit for bit.
        memory=RunConfig(preset="memory-r+", explore_warmup_steps=10, deterministic=True),
        weight=0.02,  # explore rewards noise in texts of three characters; a larger weight would teach it
        training={
            "scale_rewards": "batch",
            "learning_rate": 1e-3,
            "per_device_train_batch_size": 64,
            "num_generations": 8,
            "max_completion_length": 3,
            "max_steps": 400,
            "logging_steps": 20,
            "save_steps": 100,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
        },
    )


def make_trainer(options: argparse.Namespace, **changes: Any) -> GRPOTrainer:
    """The trainer for the options, with the memory's reward. `changes` override the task's settings."""
    task = tiny(options.seed) if options.tiny else gsm8k(options.model, options.data)
    # An embedded service stores its memory in a folder. The toy's texts need no sentence encoder.
    store, encoder = f"sqlite:///{options.output}/memory", "hashed" if options.tiny else "all-MiniLM-L6-v2"
    client = RewardClient(options.url, wait=60) if options.url else RewardClient.embedded(store, encoder=encoder)
    correct = wrap(task.correctness)
    weight = task.weight if options.weight is None else options.weight
    memory = memory_reward(client, run=options.run, outcome=correct, weight=weight, config=task.memory)
    settings = {"output_dir": options.output, "seed": options.seed, "report_to": options.report_to}
    return GRPOTrainer(
        model=task.model,
        args=GRPOConfig(**{**settings, **task.training, **changes}),
        reward_funcs=[correct, *task.other_rewards, memory],
        train_dataset=task.data,
        processing_class=task.tokenizer,
        callbacks=[MemoryCheckpoint(memory)],
    )


def last_checkpoint(output: str) -> str | None:
    """The newest complete checkpoint folder; None if there is none."""
    complete = [state.parent for state in Path(output).glob("checkpoint-*/trainer_state.json")]
    return str(max(complete, key=lambda folder: int(folder.name.partition("-")[2]))) if complete else None


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="address of the memr service (default: a service inside this process)")
    parser.add_argument("--run", default="trl-grpo", help="the run's name; use one per training run")
    parser.add_argument("--weight", type=float, help="factor of the memory's reward; a right answer has a reward of 1")
    parser.add_argument("--model", default="Qwen/Qwen2.5-0.5B-Instruct")
    parser.add_argument("--data", default="openai/gsm8k", help="a data set on the hub, or a file of JSON lines")
    parser.add_argument("--output", default="trl-grpo", help="folder for checkpoints")
    parser.add_argument("--report-to", default="none", help="wandb, tensorboard, ...")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    parser.add_argument("--tiny", action="store_true", help="train the toy")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    trainer = make_trainer(options)
    trainer.train(resume_from_checkpoint=last_checkpoint(options.output) if options.resume else None)


if __name__ == "__main__":
    main()
