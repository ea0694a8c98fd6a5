"""The paper's answer format for GSM8K: its prompt, its four format rewards, and where the answer stands."""

from __future__ import annotations

import re

SYSTEM = "Respond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>"
REASONING = ("<reasoning>", "</reasoning>")
TAGS = ("<reasoning>\n", "\n</reasoning>\n", "\n<answer>\n", "\n</answer>")

_STRICT = re.compile(r"<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n?", re.DOTALL)
_SOFT = re.compile(r"<reasoning>.*?</reasoning>\s*<answer>.*?</answer>", re.DOTALL)


def answer_in(text: str) -> str:
    """What stands in the last answer tags, or the whole text where there are none; thousands separators removed."""
    return text.rpartition("<answer>")[2].partition("</answer>")[0].strip().replace(",", "")


def is_strict(text: str) -> bool:
    """Whether the text is the format and nothing else."""
    return _STRICT.fullmatch(text) is not None


def is_soft(text: str) -> bool:
    """Whether the text begins with the format, line breaks aside."""
    return _SOFT.match(text) is not None


def format_reward(text: str) -> float:
    """0 to 2: a half each for the tags that stand there once, for soft and for strict format, for a whole number."""
    tags = 0.125 * sum(text.count(tag) == 1 for tag in TAGS)
    return tags + 0.5 * is_soft(text) + 0.5 * is_strict(text) + 0.5 * answer_in(text).isdigit()
