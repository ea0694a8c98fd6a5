"""Extraction: the final answer that a text gives, without judging it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import regex

from memr_service.verifiers.numeric.passage import boxed, final_value

PATTERN_S = 0.5
"""Seconds after which the search for a pattern in one text is aborted. Other runs wait as long for their turn; a busy
machine takes several times as long as an idle one."""
MOST_TIMEOUTS = 4
"""After so many aborted searches, no more texts of a request are searched."""
PATTERN = "pattern:"
"""What an extraction by a regular expression begins with."""

Extract = Callable[[str], str | None]
"""A text -> its answer; None if it gives none."""


def extractor(how: str) -> Extract:
    """The function that an `extract` setting names."""
    if how == "numeric":
        return _number
    if how == "boxed":
        return boxed
    if how.startswith(PATTERN):
        return partial(last_match, how.removeprefix(PATTERN))
    return partial(_tagged, how)


def pattern_of(how: str | None) -> str | None:
    """The regular expression of an `extract` setting; None if it has none."""
    return how.removeprefix(PATTERN) if how is not None and how.startswith(PATTERN) else None


def extracted(how: str, texts: list[str]) -> Iterator[str | None]:
    """The answer of each text; None if it gives none, or the search for it takes too long."""
    extract, timeouts = extractor(how), 0
    for text in texts:
        answer = None
        if timeouts < MOST_TIMEOUTS:
            try:
                answer = extract(text)
            except TimeoutError:
                timeouts += 1
        yield answer


def reference(how: str | None, text: str) -> str:
    """The answer in a reference of a data set: extracted like those of completions, else what follows its last `####`,
    else all of it."""
    try:
        answer = None if how is None else extractor(how)(text)
    except TimeoutError:
        answer = None
    return answer or text.rpartition("####")[2].strip() or text


def last_match(pattern: str, text: str, seconds: float = PATTERN_S) -> str | None:
    """The group of the pattern's last match in a text; None if nothing matches.

    Raises:
        TimeoutError: the search takes longer than `seconds`.
    """
    found = None
    for match in regex.finditer(pattern, text, regex.DOTALL, timeout=seconds):
        found = match[1]
    return found


def _number(text: str) -> str | None:
    value = final_value(text)
    try:
        return None if value is None else str(value)
    except ValueError:  # it has more digits than Python writes
        return None


def _tagged(tag: str, text: str) -> str | None:
    """What stands in the last pair of such tags: `<answer>`, `</answer>`."""
    end = text.rfind(f"</{tag[1:]}")
    start = text.rfind(tag, 0, max(end, 0))
    return None if start < 0 else text[start + len(tag) : end].strip() or None
