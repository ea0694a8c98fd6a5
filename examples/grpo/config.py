"""`Config`: everything one training depends on. Two trainings with equal configs are equal to the last bit on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

TINY: dict[str, Any] = {
    "steps": 60,
    "prompts_per_step": 8,
    "micro_batch": 128,
    "max_completion": 48,
    "learning_rate": 2e-4,
    "betas": (0.9, 0.999),
    "weight_decay": 0.0,
    "schedule": "constant",
    "max_grad_norm": 1.0,
    "kl": 0.0,
    "bf16": False,
    "memory": None,
    "encoder": "hashed",
    "eval_every": 5,
    "eval_questions": 150,
    "eval_temperature": 1.0,
}
"""What `--model tiny` changes among the defaults."""


class Config(BaseModel):
    """One training. The defaults are the paper's for GSM8K; `Config(model="tiny")` starts from `TINY` instead.

    train(Config())                                                   # Qwen2.5-0.5B on GSM8K with Memory-R+
    train(Config(model="tiny", task="clock", seed=3))                 # plain GRPO on a toy, in seconds
    train(Config(model="tiny", task="clock", memory={"components": {"exploit": 2.0}}))
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    model: str = "Qwen/Qwen2.5-0.5B-Instruct"
    """A causal language model of Hugging Face, by name or folder; or `tiny`, which is made in place."""
    task: Literal["clock", "dial", "gsm8k", "jsonl"] = "gsm8k"
    """What is learned."""
    data: Path | None = None
    """gsm8k: a folder with train.jsonl and test.jsonl (without: the hub). jsonl: a file of {"prompt", "answer"}."""
    verifier: Literal["exact", "numeric"] = "numeric"
    """jsonl: when a completion is right."""
    seed: int = 0
    """Of everything random: the order of questions, the samples; a toy's questions, the tiny model's weights."""

    steps: int | None = Field(default=None, ge=1)
    """Updates of the policy; without: `epochs` over the questions."""
    epochs: int = Field(default=1, ge=1)
    """Used where `steps` is not given."""
    prompts_per_step: int = Field(default=16, ge=1)
    """Questions, and so groups, in a step (the paper: a batch of 2, accumulated 8 times)."""
    group_size: int = Field(default=16, ge=2)
    """G: completions of a question."""
    micro_batch: int = Field(default=32, ge=1)
    """Completions in memory at once while gradients accumulate; it does not change the result."""
    updates_per_step: int = Field(default=1, ge=1)
    """mu: how often a step's completions are learned from. With 1 the ratio is 1 and nothing is clipped."""
    max_prompt: int = Field(default=256, ge=1)
    """Tokens of a prompt; longer ones lose their beginning."""
    max_completion: int = Field(default=200, ge=1)
    """Tokens after which a completion is cut."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the samples, and of the probabilities that are learned."""
    sampler: Literal["own", "vllm"] = "own"
    """Who writes the completions: the policy itself; or, for a model of Hugging Face, vLLM beside it on its GPU."""

    learning_rate: float = Field(default=5e-6, gt=0)
    """AdamW's, at its highest."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's."""
    weight_decay: float = Field(default=0.1, ge=0)
    """AdamW's."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """cosine: rises over the first tenth of the steps and falls to 0. constant: neither."""
    max_grad_norm: float = Field(default=0.1, gt=0)
    """Gradients with a larger norm are shortened to it."""
    bf16: bool = True
    """Forward and backward in bfloat16; weights and AdamW stay float32."""
    lora: int | None = Field(default=None, ge=1)
    """Rank of LoRA adapters on all linear layers (needs peft); without: all weights are trained."""

    variant: Literal["grpo", "dr-grpo"] = "grpo"
    """grpo: advantages over the group's deviation, tokens averaged per completion. dr-grpo: neither."""
    clip: float = Field(default=0.2, gt=0)
    """epsilon: how far the ratio counts."""
    kl: float = Field(default=0.04, ge=0)
    """beta: weight of the k3 estimate of KL(policy || policy at the start)."""
    entropy_bonus: float = Field(default=0.0, ge=0)
    """Weight of the mean entropy of the next token."""

    correctness_weight: float = 1.0
    """Of the outcome, 0 or 1."""
    format_weight: float = 1.0
    """Of the format reward, 0 to 2."""
    format_gated: bool = False
    """Pay for the format in right completions only."""
    length_weight: float = 0.0
    """Of the cosine length reward, -1 to 1: short when right, long when wrong."""
    memory: str | dict[str, Any] | None = "memory-r+"
    """A preset, fields of `RunConfig`, or none: no memory."""
    memory_weight: float = 1.0
    """Of the memory's reward, over the weights of its components."""
    memory_anneal: tuple[int, int] | None = None
    """The memory's weight falls to 0 between these steps."""
    memory_url: str | None = None
    """Where a memr service listens; without: one inside this process."""
    memory_run: str = "grpo"
    """Name of the run that is the memory: one for each training that shares a service."""
    encoder: str | None = "all-MiniLM-L6-v2"
    """The memory's encoder."""

    eval_every: int = Field(default=100, ge=1)
    """Steps between evaluations; the first is before the first step, the last after the last."""
    eval_questions: int | None = Field(default=None, ge=1)
    """How many of the held-out questions are asked; without: all."""
    eval_temperature: float = Field(default=0.0, ge=0)
    """0: the most probable token each time."""
    output: Path | None = None
    """Folder for metrics, checkpoints and the embedded memory. One that has a checkpoint already is gone on from.
    Without: nothing is written."""
    save_every: int = Field(default=100, ge=1)
    """Steps between checkpoints."""
    warm_starts: Path = Path("reports/warm-starts")
    """Where warm-started tiny models are kept, one for each seed."""
    progress: bool = False
    """Show a bar."""

    @model_validator(mode="before")
    @classmethod
    def _tiny_has_defaults_of_its_own(cls, given: Any) -> Any:
        tiny = isinstance(given, dict) and given.get("model") == "tiny"
        return {**TINY, **given} if tiny else given

    @model_validator(mode="after")
    def _vllm_knows_the_model(self) -> Config:
        if self.model == "tiny" and self.sampler == "vllm":
            raise ValueError("vllm cannot serve the model tiny: leave sampler at own, or name a model of Hugging Face")
        return self

    @model_validator(mode="after")
    def _own_questions_are_given(self) -> Config:
        if self.task == "jsonl" and self.data is None:
            raise ValueError('the task jsonl needs data: a file of {"prompt", "answer"}, one a line')
        return self
