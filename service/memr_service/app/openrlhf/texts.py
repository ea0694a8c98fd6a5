"""OpenRLHF's texts: separates the completion from the prompt in a `query`, and the question from its chat template."""

from __future__ import annotations

import re
from typing import Literal

import regex
from memr_client.errors import InvalidRequest

from memr_service.verifiers.extraction import PATTERN_S, last_match

_FINAL_TOKEN = re.compile(
    r"(<\|[^<>|\s]{1,40}\|>|<\uff5c[^<>\uff5c\s]{1,40}\uff5c>|</?s>|<(eos|pad|end_of_turn)>|\[PAD\])\s*\Z"
)
"""A special token at the end of a text: <|im_end|>, <|eot_id|>, </s> and similar."""
_LONGEST_TOKEN = 64
_FEW = 16
"""Characters of a query that are looked for in its prompt before the slow search."""

Found = Literal["whole", "cut", "lost"]
"""What a query begins with: the whole prompt, the end of a prompt that OpenRLHF cut from the left, or neither."""


def completion_of(query: str, prompt: str) -> tuple[str, Found]:
    """The completion in a query, without the special tokens at its end, and how much of the prompt was found.

    A cut prompt is recognised by the longest end of the prompt that the query begins with. If there is none (the tokens
    did not decode to the original text), the whole query is the completion.
    """
    if query.startswith(prompt):
        return without_final_tokens(query[len(prompt) :]), "whole"
    shown = query.lstrip("\ufffd")  # the cut may have split a character
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
    """The last match of the pattern's group in a prompt, and whether there is one; the whole prompt if there is none.

    Raises:
        InvalidRequest: the pattern takes too long.
    """
    if pattern is None:
        return prompt, True
    try:
        question = last_match(pattern, prompt, PATTERN_S)
    except TimeoutError:
        raise InvalidRequest(
            "The run's prompt_pattern takes too long to match a prompt.",
            value=f"more than {PATTERN_S:g} s for {len(prompt)} characters",
            limit=f"{PATTERN_S:g} s",
            remedy="Create a new run with a pattern that has no nested repeats such as (.*)*.",
        ) from None
    return (prompt, False) if question is None else (question, True)


def check_pattern(field: str, pattern: str | None) -> None:
    """Check that this server can use the pattern in a field of a run's config.

    Raises:
        InvalidRequest: it is not a regular expression of the package `regex`, which can limit the time of a search.
    """
    try:
        regex.compile(pattern or "", regex.DOTALL)
    except regex.error as error:
        raise InvalidRequest(
            f"{field} is not a regular expression: {error}.",
            value=pattern,
            limit="a regular expression with one group",
            remedy="Escape special characters, as in <\\|im_start\\|>.",
        ) from None


def _overlap(prompt: str, query: str) -> int:
    """Length of the longest end of the prompt that the query begins with, in linear time (Knuth, Morris, Pratt).

    The search begins where the prompt has the first characters of the query, which is usually the place itself.
    """
    if not query:
        return 0
    start = prompt.find(query[:_FEW])
    prompt = prompt[start if start >= 0 else max(0, len(prompt) - _FEW + 1) :]
    if query.startswith(prompt):
        return len(prompt)
    borders = [0]
    for index in range(1, min(len(query), len(prompt))):
        borders.append(_longer(query, borders, borders[-1], query[index]))
    length = 0
    for character in prompt:
        if length == len(borders):
            length = borders[-1]
        length = _longer(query, borders, length, character)
    return length


def _longer(query: str, borders: list[int], length: int, character: str) -> int:
    """Length of the query's beginning that matches after one more character, if `length` characters matched before."""
    while length and character != query[length]:
        length = borders[length - 1]
    return length + (character == query[length])
