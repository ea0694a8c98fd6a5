"""OpenRLHF's texts taken apart: its `query` into prompt and completion, and a prompt out of its chat template."""

from __future__ import annotations

import re
from typing import Literal

import regex
from memr_client.errors import InvalidRequest

PATTERN_S = 0.1
"""A `prompt_pattern` that has not found its place by then is refused: while it searches, nobody else is served."""

_FINAL_TOKEN = re.compile(
    r"(<\|[^<>|\s]{1,40}\|>|<\uff5c[^<>\uff5c\s]{1,40}\uff5c>|</?s>|<(eos|pad|end_of_turn)>|\[PAD\])\s*\Z"
)
"""A special token at a text's end: <|im_end|>, <|eot_id|>, </s> and their like."""
_LONGEST_TOKEN = 64


Found = Literal["whole", "cut", "lost"]
"""What a query begins with: the prompt, the end of one that OpenRLHF cut from the left, or neither of them."""


def completion_of(query: str, prompt: str) -> tuple[str, Found]:
    """The completion in a query, without the special tokens it ends with, and what was found of the prompt before it.

    A cut prompt is known by the longest end of it that the query begins with. Where there is none, tokens did not
    decode to the text they came from, and the whole query is taken.
    """
    if query.startswith(prompt):
        return without_final_tokens(query[len(prompt) :]), "whole"
    shown = query.lstrip("\ufffd")  # the cut may have gone through a character
    if length := _overlap(prompt, shown):
        return without_final_tokens(shown[length:]), "cut"
    return without_final_tokens(query), "lost"


def without_final_tokens(text: str) -> str:
    """The text without the special tokens at its end."""
    end = len(text)
    while (found := _FINAL_TOKEN.search(text, max(0, end - _LONGEST_TOKEN), end)) is not None:
        end = found.start()
    return text[:end]


def question_of(prompt: str, pattern: str | None) -> tuple[str, bool]:
    """What the pattern's group finds last in a prompt, and whether it does; the whole prompt where it does not.

    Raises:
        InvalidRequest: the pattern takes too long.
    """
    if pattern is None:
        return prompt, True
    question: str | None = None
    try:
        for found in regex.finditer(pattern, prompt, regex.DOTALL, timeout=PATTERN_S):
            question = found[1]
    except TimeoutError:
        raise InvalidRequest(
            "The run's prompt_pattern takes too long to search a prompt.",
            value=f"more than {PATTERN_S:g} s for {len(prompt)} characters",
            limit=f"{PATTERN_S:g} s",
            remedy="Write it without repeats inside repeats, such as (.*)*, in a new run.",
        ) from None
    return (prompt, False) if question is None else (question, True)


def check_pattern(pattern: str | None) -> None:
    """Refuse a `prompt_pattern` that this server cannot use.

    Raises:
        InvalidRequest: it is no regular expression of the `regex` package, which keeps time where `re` does not.
    """
    try:
        regex.compile(pattern or "", regex.DOTALL)
    except regex.error as error:
        raise InvalidRequest(
            f"prompt_pattern is not a regular expression: {error}.",
            value=pattern,
            limit="a regular expression with one group",
            remedy="Escape what stands for itself, as in <\\|im_start\\|>.",
        ) from None


def _overlap(prompt: str, query: str) -> int:
    """Length of the longest end of the prompt that the query begins with, in linear time (Knuth, Morris, Pratt)."""
    if not query:
        return 0
    borders = [0]
    for place in range(1, min(len(query), len(prompt))):
        borders.append(_longer(query, borders, borders[-1], query[place]))
    length = 0
    for character in prompt:
        if length == len(borders):
            length = borders[-1]
        length = _longer(query, borders, length, character)
    return length


def _longer(query: str, borders: list[int], length: int, character: str) -> int:
    """How much of the query's beginning is matched when `length` of it were and this character comes."""
    while length and character != query[length]:
        length = borders[length - 1]
    return length + (character == query[length])
