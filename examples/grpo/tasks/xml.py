"""The paper's answer format for GSM8K: its system prompt, its format rewards, and how to read the answer."""

from __future__ import annotations

import re

SYSTEM = "Respond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>"
REASONING = ("<reasoning>", "</reasoning>")
TAGS = ("<reasoning>\n", "\n</reasoning>\n", "\n<answer>\n", "\n</answer>")

_STRICT = re.compile(r"<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n?", re.DOTALL)
_SOFT = re.compile(r"<reasoning>.*?</reasoning>\s*<answer>.*?</answer>", re.DOTALL)


def answer_in(text: str) -> str:
    """The text in the last answer tags, or the whole text if there are none, without thousands separators."""
    return text.rpartition("<answer>")[2].partition("</answer>")[0].strip().replace(",", "")


def is_strict(text: str) -> bool:
    """Whether the whole text has exactly the format."""
    return _STRICT.fullmatch(text) is not None


def is_soft(text: str) -> bool:
    """Whether the text begins with the format, with any line breaks."""
    return _SOFT.match(text) is not None


def format_reward(text: str) -> float:
    """0 to 2: one half each for tags that occur once, the soft format, the strict format, and a whole number."""
    tags = 0.125 * sum(text.count(tag) == 1 for tag in TAGS)
    return tags + 0.5 * is_soft(text) + 0.5 * is_strict(text) + 0.5 * answer_in(text).isdigit()
