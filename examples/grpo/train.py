"""GRPO with a memory reward, in plain PyTorch. `train` is the whole training, `one_step` one step of it.

Differences from published GRPO (Shao et al. 2024, arXiv 2402.03300):

1. The reward has four parts: outcome, format, length (off by default) and memory. memr computes the last one.
2. A rule verifies outcomes; there is no reward model and no process supervision.
3. With one update per step (the default), the ratio is 1 and nothing is clipped.
4. The reference of the KL penalty is always the policy at the start; there are no outer iterations that replace it.
5. The standard deviation is over G - 1, and 1e-4 is added to it, as in TRL.
6. There is no dropout, neither in sampling nor in training.
7. A step's random numbers come from the seed and the step's number, so a resumed training equals an uninterrupted one.
8. With `sampler="vllm"`, completions are sampled slightly off-policy (see `vllm.py`), which is not corrected.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import torch
from memr_client import RewardClient

from examples.grpo import checkpoint, smollm2
from examples.grpo.advantage import ADVANTAGES
from examples.grpo.config import Config
from examples.grpo.learner import Learner
from examples.grpo.log import Log
from examples.grpo.measures import Row, measures
from examples.grpo.policy import Policy
from examples.grpo.rewards import Judge, compute_rewards, open_memory
from examples.grpo.rollout import rollout
from examples.grpo.sampling import MakeSampling, Sampling, of_config
from examples.grpo.tasks.chain_sum import ChainSum
from examples.grpo.tasks.clock import Clock
from examples.grpo.tasks.dial import Dial
from examples.grpo.tasks.dial_pool import DialDead, DialPool
from examples.grpo.tasks.gsm8k import Gsm8k
from examples.grpo.tasks.jsonl import Jsonl
from examples.grpo.tasks.stories import Stories
from examples.grpo.tasks.task import Task
from examples.grpo.tiny import TinyPolicy
from examples.grpo.warm_start import PRETRAINED, warm_start

EVAL_BATCH = 64
"""Questions per batch in an evaluation."""


@dataclass(frozen=True)
class Result:
    """The result of a training."""

    accuracy: float
    """Accuracy on held-out questions after the last step."""
    curve: list[tuple[int, float]]
    """(steps done, accuracy on held-out questions), from step 0 to the last."""
    rows: list[Row]
    """Metrics of each step (see `measures`). Row 0 is the evaluation before the first step."""
    policy: Policy
    memory_digest: str | None
    """SHA-256 over the memory, its windows and counters; None without a memory."""

    @property
    def area(self) -> float:
        """Mean accuracy during the training: the area under the linearly interpolated curve, over its length."""
        pieces = zip(self.curve, self.curve[1:], strict=False)
        return sum((end - start) * (one + other) / 2 for (start, one), (end, other) in pieces) / self.curve[-1][0]


def train(
    config: Config,
    make_sampling: MakeSampling = of_config,
    task: Task | None = None,
    judge: Judge | None = None,
) -> Result:
    """Run one training, from its start or from the checkpoint in `config.output`.

    Args:
        make_sampling: makes what chooses a step's questions. Default: `config.plan` does.
        task: in place of the config's.
        judge: what gives the outcomes of completions. Default: the task.
    """
    task = task or make_task(config)
    policy = make_policy(config, task)
    steps = config.steps or config.epochs * len(task.train) // config.prompts_per_step
    learner = Learner(config, policy, steps)
    with open_memory(config, task) as memory:
        sampling = make_sampling(config, task, policy, memory)
        done, rows = checkpoint.begin(config, policy, learner.optimizer, memory)
        with Log(config, steps, rows) as log:
            if not rows:
                log.write({"step": 0, "accuracy": evaluate(config, policy, task, 0)})
            for step in range(done, steps):
                row = one_step(config, task, policy, sampling, learner, memory, step, judge)
                last = step + 1 == steps
                if last or (step + 1) % config.eval_every == 0:
                    row["accuracy"] = evaluate(config, policy, task, step + 1)
                log.write(row)
                if config.output and (last or (step + 1) % config.save_every == 0):
                    checkpoint.save(config.output, step + 1, policy, learner.optimizer, log.rows, memory)
        digest = memory.run(digest=True).digest if memory is not None else None
    curve = [(int(row["step"] or 0), accuracy) for row in rows if (accuracy := row.get("accuracy")) is not None]
    return Result(curve[-1][1], curve, rows, policy, digest)


def one_step(
    config: Config,
    task: Task,
    policy: Policy,
    sampling: Sampling,
    learner: Learner,
    memory: RewardClient | None,
    step: int,
    judge: Judge | None = None,
) -> Row:
    """One step: questions, rollout, rewards, advantages, update. Returns its metrics."""
    started = time.perf_counter()
    torch.manual_seed(number_of(config.seed, "sample", step))
    sampled = rollout(policy, sampling.questions(step), config.group_size, config.max_completion, config.temperature)
    sampled_at = time.perf_counter()
    rewards = compute_rewards(config, task, memory, sampled, step, judge)
    rewarded_at = time.perf_counter()
    advantages = ADVANTAGES[config.baseline](rewards.total, config.group_size, config.variant)
    lessons = sampling.lessons(sampled, rewards, advantages)
    update = learner.update(*lessons, step) if lessons else {}
    seconds = {
        "rollout_s": sampled_at - started,
        "reward_s": rewarded_at - sampled_at,
        "update_s": time.perf_counter() - rewarded_at,
    }
    modes = [task.mode(text) for text in sampled.texts]
    return {"step": step + 1, **measures(sampled, rewards, modes, config.group_size), **update, **seconds}


def evaluate(config: Config, policy: Policy, task: Task, step: int) -> float:
    """Accuracy on held-out questions, with one completion each."""
    torch.manual_seed(number_of(config.seed, "evaluate", step))
    questions = list(task.test[: config.eval_questions])
    right = 0
    for start in range(0, len(questions), EVAL_BATCH):
        sampled = rollout(
            policy, questions[start : start + EVAL_BATCH], 1, config.max_completion, config.eval_temperature
        )
        pairs = zip(sampled.texts, sampled.questions, strict=True)
        right += sum(task.right(text, question.answer) for text, question in pairs)
    return right / len(questions)


def number_of(*what: object) -> int:
    """A seed for torch's generator, derived from a purpose."""
    return random.Random(" ".join(map(str, what))).getrandbits(63)


def make_task(config: Config) -> Task:
    """Create the config's task."""
    if config.task == "clock":
        return Clock(config.seed)
    if config.task == "dial":
        return Dial(config.seed)
    if config.task == "dial-pool":
        return DialPool(config.dead_share)
    if config.task == "dial-dead":
        return DialDead(config.dead_share)
    if config.task == "chain-sum":
        return ChainSum()
    if config.task == "stories":
        return Stories()
    if config.task == "gsm8k":
        return Gsm8k(config.data)
    assert config.data is not None  # checked by `Config`
    return Jsonl(config.data, config.verifier)


def make_policy(config: Config, task: Task) -> Policy:
    """Create the config's policy, as it is before the first step."""
    torch.manual_seed(number_of(config.seed, "weights"))
    if config.model != "tiny":
        from examples.grpo.causal_lm import CausalLM  # imported late, because transformers loads slowly

        name = str(smollm2.folder(config.warm_starts)) if config.model == smollm2.NAME else config.model
        arguments = (name, task.system, config.max_prompt, config.bf16, config.lora)
        if config.sampler == "vllm":
            from examples.grpo.vllm import VllmCausalLM

            return VllmCausalLM(*arguments, config.max_completion)
        pretrained = CausalLM(*arguments)
        if isinstance(task, Stories) and config.lessons != 0:
            warm_start(pretrained, task, 0, config.warm_starts, config.lessons, PRETRAINED)  # the same for every seed
        return pretrained
    torch.set_num_threads(1)  # faster for a model of this size
    policy = TinyPolicy(task.pieces, config.max_prompt, config.max_completion)
    if isinstance(task, Clock | Dial | ChainSum):
        warm_start(policy, task, config.seed, config.warm_starts, config.lessons)
    return policy
