"""How fast does a pretrained model sample and learn on this CPU, beside transformers' generate?

    python -m benchmarks.language_model              # needs `make setup-smollm2`; some minutes
    python -m benchmarks.language_model --publish    # writes docs/results/language-model.json, too

SmolLM2-135M-Instruct answers 8 word problems 16 times with up to 48 tokens, as in a GRPO step, and learns from its
completions. The trainer's sampler and transformers' `generate` take turns, so that both have the same machine;
`generate` has its weights in bfloat16 where the processor has it. Tokens are those of completions up to their end.
"""

from __future__ import annotations

import copy
import statistics
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import GenerationConfig

from benchmarks.published import publish, table
from benchmarks.report import Report, Row, quick
from examples.grpo.causal_lm import CausalLM
from examples.grpo.config import Config
from examples.grpo.learner import Learner
from examples.grpo.policy import Tokens, cut, padded
from examples.grpo.rollout import Rollout
from examples.grpo.train import make_policy, make_task

QUESTIONS, COPIES, LIMIT = 8, 16, 48


def generate(policy: CausalLM, model: Any, prompts: list[Tokens]) -> list[Tokens]:
    """Completions by transformers, sampled from the whole distribution."""
    tokens, mask = padded(prompts, policy.pad, left=True)
    settings = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True, top_k=0, num_return_sequences=COPIES, max_new_tokens=LIMIT, pad_token_id=policy.pad,
        eos_token_id=sorted(policy.ends),
    )  # fmt: skip
    with torch.no_grad():
        written = model.generate(input_ids=tokens, attention_mask=mask.long(), generation_config=settings)
    return [cut(row, policy.ends) for row in written[:, tokens.shape[1] :].tolist()]


def timed(work: Callable[[], list[Tokens]]) -> tuple[list[Tokens], float]:
    """What was sampled, and tokens per second."""
    began = time.perf_counter()
    completions = work()
    return completions, sum(map(len, completions)) / (time.perf_counter() - began)


def main() -> None:
    arguments = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=1 if quick() else 3, help="turns of each sampler")
    arguments.add_argument("--publish", action="store_true", help="write the table of docs/results")
    asked = arguments.parse_args()
    began = time.perf_counter()
    config = Config(
        model="smollm2", task="stories", lessons=0, kl=0, memory=None, group_size=COPIES, prompts_per_step=QUESTIONS,
        max_completion=LIMIT, micro_batch=COPIES, learning_rate=1e-6,
    )  # fmt: skip
    task = make_task(config)
    policy = make_policy(config, task)
    assert isinstance(policy, CausalLM)
    other = copy.deepcopy(policy.model).to(policy.precision)
    learner = Learner(config, policy, asked.rounds)
    own, theirs, steps = list[float](), list[float](), list[float]()
    for turn in range(asked.rounds):
        questions = list(task.train[turn * QUESTIONS : (turn + 1) * QUESTIONS])
        prompts = [policy.prompt(question) for question in questions]
        torch.manual_seed(turn)
        step_began = time.perf_counter()
        completions, rate = timed(partial(policy.sample, prompts, COPIES, LIMIT, 1.0))
        repeated = [one for one in questions for _ in range(COPIES)]
        texts = [policy.text(one) for one in completions]
        rollout = Rollout(repeated, [policy.prompt(one) for one in repeated], completions, texts, [False] * len(texts))
        learner.update(rollout, torch.randn(len(texts)), turn)
        steps.append(time.perf_counter() - step_began)
        own.append(rate)
        torch.manual_seed(turn)
        theirs.append(timed(partial(generate, policy, other, prompts))[1])
        print(f"own {rate:.0f} tokens/s, generate {theirs[-1]:.0f} tokens/s, a step {steps[-1]:.1f} s", flush=True)
    ratios = [mine / yours for mine, yours in zip(own, theirs, strict=True)]
    figures = {
        "tokens sampled in a second": (own, ""),
        "the same by transformers' `generate`": (theirs, ""),
        "ratio of the two, turn by turn": (ratios, ""),
        "seconds of a step of 128 completions, sampled and learned from": (steps, "s"),
    }
    rows = [
        {"what": what, "median": statistics.median(found), "least": min(found), "most": max(found), "unit": unit}
        for what, (found, unit) in figures.items()
    ]
    threads = torch.get_num_threads()
    about = f"SmolLM2-135M on {threads} thread{'s' * (threads > 1)} in {str(policy.precision).removeprefix('torch.')}"
    report = Report("language-model", [Row(row["what"], row["median"], row["unit"]) for row in rows])
    print(report.write())
    if asked.publish:
        cells = {"": "{what}", "median": "{median:.3g} {unit}", "least to most": "{least:.3g} to {most:.3g}"}
        title = f"{about}: 8 questions, 16 completions each of up to 48 tokens, {asked.rounds} turns"
        seconds = time.perf_counter() - began
        publish("language-model", command="make bench-lm", seconds=seconds, quick=quick(), **table(title, cells, rows))


if __name__ == "__main__":
    main()
