"""Axolotl (0.19): put this file next to Axolotl's config, which names its functions, and set MEMR_URL and MEMR_RUN.

rl: grpo
trl:
  reward_funcs: [axolotl_reward.correct, axolotl_reward.memory]
"""

import os
from typing import Any

from memr_client.trl import memory_reward, wrap


def right(prompts: list[Any], completions: list[Any], answer: list[str], **columns: Any) -> list[float]:
    last_words = [chat[-1]["content"].split()[-1:] for chat in completions]
    return [float(words == [truth]) for words, truth in zip(last_words, answer, strict=True)]


correct = wrap(right)
memory = memory_reward(os.environ["MEMR_URL"], run=os.environ["MEMR_RUN"], outcome=correct)
