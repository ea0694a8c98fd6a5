"""The Memory-R+ paper's rewards for GSM8K (correctness, format, memory) as a local reward file of OpenRLHF.

MEMR_URL=http://127.0.0.1:8000 MEMR_RUN=gsm8k-seed0 ... --reward.remote_url examples/openrlhf_reward.py

Without the format reward you need no file: --reward.remote_url http://127.0.0.1:8000/openrlhf/gsm8k-seed0
"""

from __future__ import annotations

import os
import re
from typing import Any

from memr_client.openrlhf import RewardFunction

TAGS = ("<reasoning>\n", "\n</reasoning>\n", "\n<answer>\n", "\n</answer>")
STRICT = re.compile(r"<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n?", re.DOTALL)
SOFT = re.compile(r"<reasoning>.*?</reasoning>\s*<answer>.*?</answer>", re.DOTALL)

memory = RewardFunction(os.environ.get("MEMR_URL", "http://127.0.0.1:8000"), run=os.environ["MEMR_RUN"])


def form(completion: str) -> float:
    tags = 0.125 * sum(completion.count(tag) == 1 for tag in TAGS)
    answer = completion.rpartition("<answer>")[2].partition("</answer>")[0].strip()
    return tags + 0.5 * (bool(STRICT.fullmatch(completion)) + bool(SOFT.match(completion)) + answer.isdigit())


def reward_func(queries: list[str], prompts: list[str], labels: list[Any], **kwargs: Any) -> dict[str, Any]:
    response = memory(queries, prompts, labels)
    completions = [query.removeprefix(prompt) for query, prompt in zip(queries, prompts, strict=True)]
    forms = [form(completion.removesuffix("<|im_end|>")) for completion in completions]
    response["rewards"] = [reward + extra for reward, extra in zip(response["rewards"], forms, strict=True)]
    response["extra_logs"]["form"] = forms
    return response
