"""Other forms of a value that can mean one thing only, read as that; everything else is left for the schema to refuse.

A column whose values all have the schema's own type is returned as it is, without a look at each value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from memr_client.schemas.splits import phase_of

EXACT = 2.0**53
"""Floats below this are exact as integers."""
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant"}
"""Roles of chats in from/value form."""


def whole_number(value: Any) -> Any:
    """3.0 as 3: JSON writers of some languages know one kind of number only."""
    return int(value) if type(value) is float and value.is_integer() else value


def whole_numbers(column: Any) -> Any:
    """`whole_number` of each value."""
    return _each(whole_number, column, {int})


def number_as_text(value: Any) -> Any:
    """An integer as its digits: 7 and 7.0 as "7"."""
    if type(value) is int or (type(value) is float and value.is_integer() and abs(value) < EXACT):
        return str(int(value))
    return value


def numbers_as_texts(column: Any) -> Any:
    """`number_as_text` of each value, for ids."""
    return _each(number_as_text, column, {str})


def answers_as_texts(column: Any) -> Any:
    """Numbers as texts, fractions too: 0.5 as "0.5"."""
    return _each(answer_as_text, column, {str, type(None)})


def booleans_as_numbers(column: Any) -> Any:
    """True as 1.0 and False as 0.0."""
    return _each(lambda value: float(value) if type(value) is bool else value, column, {float, int})


def numbers_as_booleans(column: Any) -> Any:
    """1 as true and 0 as false."""
    return _each(lambda value: bool(value) if type(value) is int and value in (0, 1) else value, column, {bool})


def role_and_content(message: Any) -> Any:
    """A message with `role` and `content`, from one in from/value form; a text among its parts becomes a part."""
    if not isinstance(message, dict):
        return message
    if "role" not in message and {"from", "value"} <= message.keys():
        renamed = {"role": ROLES.get(message["from"], message["from"]), "content": message["value"]}
        message = {**renamed, **{name: value for name, value in message.items() if name not in ("from", "value")}}
    content = message.get("content")
    if isinstance(content, list) and any(isinstance(part, str) for part in content):
        parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
        message = {**message, "content": parts}
    return message


def nearest(given: Any, known: Iterable[str]) -> str | None:
    """The known name that is nearest to a given one, whatever their case; None if none is near."""
    names = {one.lower(): one for one in known}
    near = get_close_matches(str(given).lower(), names, n=1, cutoff=0.6)
    return names[near[0]] if near else None


def nearest_choice(given: Any, expected: str) -> str | None:
    """The choice nearest to a given one, among choices as pydantic lists them: "'train' or 'eval'".

    Of these two it is what the given one means as the name of a split: test is eval.
    """
    choices = re.findall(r"'([^']*)'", expected)
    meant = phase_of(given) if set(choices) == {"train", "eval"} else None
    return meant or nearest(given, choices)


def suggestion(given: Any, known: Iterable[str]) -> str | None:
    """What to do about an unknown name: take the nearest known one, else one of them if they are few."""
    names = list(known)
    if (near := nearest(given, names)) is not None:
        return f"Did you mean {near!r}?"
    return f"Choose from {', '.join(names)}." if 0 < len(names) <= 12 else None


def answer_as_text(value: Any) -> Any:
    """A number as text, a fraction too: 0.5 as "0.5"."""
    value = number_as_text(value)
    return repr(value) if type(value) is float and abs(value) < float("inf") else value


def _each(read: Any, column: Any, usual: set[type]) -> Any:
    if not isinstance(column, list) or set(map(type, column)) <= usual:
        return column
    return [read(value) for value in column]
