"""Do a policy's own hidden states serve as embeddings? AUC for being right, beside those of two encoders.

    python -m benchmarks.hidden_states              # needs `make setup-smollm2`; a quarter of an hour
    python -m benchmarks.hidden_states --publish    # writes docs/results/hidden-states.json, too

SmolLM2 after its warm start answers word problems twice, in groups of 16. The same completions are sent to three runs:
with the mean of the last layer's hidden states over the completion's tokens as embeddings (of prompts: over theirs),
and as texts for all-MiniLM-L6-v2 and for the hashed encoder. The second answers are measured, when the memory knows the
first: the share of pairs of a right and a wrong completion of one group in which a component's raw value is higher for
the right one. 0.5 says nothing about correctness.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memr_client import RewardClient
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from benchmarks.hackbench.measures import auc
from benchmarks.published import publish, table
from benchmarks.report import quick
from examples.grpo.causal_lm import CausalLM
from examples.grpo.config import Config
from examples.grpo.policy import Tokens, padded
from examples.grpo.rewards import judged
from examples.grpo.rollout import Rollout, rollout
from examples.grpo.train import make_policy, make_task

COMPONENTS = ("exploit", "explore", "contrast", "value")
ENCODERS: dict[str, str | None] = {
    "own hidden states": None, "all-MiniLM-L6-v2": "all-MiniLM-L6-v2", "hashed": "hashed",
}  # fmt: skip
GROUP, STEP, VISITS = 16, 8, 2
"""Completions of a group, groups of a request, and times that a question is asked."""
AT_ONCE = 32
"""Texts in a forward pass."""


def means(policy: CausalLM, prompts: Sequence[Tokens], completions: Sequence[Tokens]) -> Tensor:
    """Mean hidden states (n, d) of the last layer over each completion after its prompt; over a prompt if none follows.

    Args:
        completions: as many as prompts; empty ones are not read.
    """
    pairs, found = [*zip(prompts, completions, strict=True)], []
    for start in range(0, len(pairs), AT_ONCE):
        some = pairs[start : start + AT_ONCE]
        tokens, mask = padded([before + after for before, after in some], policy.pad, left=False)
        own = torch.tensor([len(after) or len(before) for before, after in some])
        with torch.no_grad(), torch.autocast("cpu", dtype=policy.precision, enabled=policy.precision != torch.float32):
            states = policy.model.base_model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state.float()
        places, lengths = torch.arange(tokens.shape[1]), mask.sum(1)
        read = places >= (lengths - own)[:, None]
        read = (read & mask)[:, :, None]
        found.append((states * read).sum(1) / read.sum(1))
    return torch.cat(found)


def requests(policy: CausalLM, task: Any, config: Config, questions: int) -> Iterator[Rollout]:
    """What the policy samples: every question once, and again."""
    for visit in range(VISITS):
        for start in range(0, questions, STEP):
            torch.manual_seed(visit * questions + start)
            asked = list(task.train[start : min(start + STEP, questions)])
            yield rollout(policy, asked, GROUP, config.max_completion, 1.0)


def main() -> None:
    arguments = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    arguments.add_argument("--questions", type=int, default=STEP if quick() else 64)
    arguments.add_argument("--lessons", type=int, help="steps of the warm start (default: the task's)")
    arguments.add_argument("--publish", action="store_true", help="write the table of docs/results")
    asked = arguments.parse_args()
    began = time.perf_counter()
    config = Config(model="smollm2", task="stories", lessons=asked.lessons, memory=None, max_completion=48)
    task = make_task(config)
    policy = make_policy(config, task)
    assert isinstance(policy, CausalLM)
    settings: dict[str, Any] = {
        "preset": "memory-r+", "components": dict.fromkeys(COMPONENTS, 1.0), "explore_warmup_steps": 0,
        "precision": "float32", "store_text": False,
    }  # fmt: skip
    with RewardClient.embedded("memory:") as client:
        for name, encoder in ENCODERS.items():
            client.create_run(name.replace(" ", "-"), {**settings, "encoder": encoder})
        raw: dict[str, list[np.ndarray]] = {f"{name} {part}": [] for name in ENCODERS for part in COMPONENTS}
        outcomes = []
        for number, sampled in enumerate(requests(policy, task, config, asked.questions)):
            right = judged(task, sampled)
            outcomes.append(right)
            prompts = [question.text for question in sampled.questions]
            own = {
                "prompts": means(policy, sampled.prompts, [[]] * len(prompts)).numpy(),
                "completions": means(policy, sampled.prompts, sampled.completions).numpy(),
            }
            for name, encoder in ENCODERS.items():
                sent = {"embeddings": own} if encoder is None else {}
                run = name.replace(" ", "-")
                response = client.reward(prompts, sampled.texts, right, run_id=run, step=number, **sent)
                for part in COMPONENTS:
                    values = response.components[part].raw
                    raw[f"{name} {part}"].append(np.array([np.nan if one is None else one for one in values]))
            print(f"request {number + 1}: {np.mean(right):.2f} right", flush=True)
    half = len(outcomes) // VISITS
    groups = np.concatenate(outcomes[half:]).reshape(-1, GROUP)
    mixed = int(((groups > 0).any(1) & (groups < 1).any(1)).sum())
    rows: list[dict[str, Any]] = []
    for name in ENCODERS:
        columns = {part: np.concatenate(raw[f"{name} {part}"][half:]).reshape(-1, GROUP) for part in COMPONENTS}
        rows.append({"embeddings": name, **{part: auc(values, groups) for part, values in columns.items()}})
    for row in rows:
        print(f"{row['embeddings']:<20}" + "".join(f"{part} {row[part]:.3f}  " for part in COMPONENTS))
    print(f"{mixed} of {len(groups)} groups are mixed, {groups.mean():.2f} right")
    if asked.publish:
        cells = {"embeddings": "{embeddings}", **{f"`{part}`": f"{{{part}:.2f}}" for part in COMPONENTS}}
        title = (
            f"AUC for being right within groups of {GROUP}, of which {mixed} have both kinds: "
            "SmolLM2-135M on word problems"
        )
        made = table(title, cells, rows)
        spent = time.perf_counter() - began
        publish("hidden-states", command="make lm-embeddings", seconds=spent, quick=quick(), **made)


if __name__ == "__main__":
    main()
