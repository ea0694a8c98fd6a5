"""Words for what a schema refuses, the same from the client and from the service.

pydantic's errors name types of its own and links to its pages. `refusal` names the field, what was sent, what is
allowed and, where it is clear, what to do. Prompts and completions are not repeated, since they may be private; names
and numbers are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from memr_client.schemas.loose import nearest_choice
from memr_client.schemas.wire import name_like

EXPECTED = {
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "tuple_type": "a list",
    "text": "a text or a list of chat messages",
}
BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
LENGTHS = {
    "too_short": ("min_length", "at least"),
    "too_long": ("max_length", "at most"),
    "string_too_short": ("min_length", "at least"),
    "string_too_long": ("max_length", "at most"),
}
NUMBERS = ("float_type", "float_parsing", "int_type", "int_parsing")
WHOLE = "the request"
TAG = re.compile(r"<\w+>|\[key\]|str|int|float|bool|(function-|constrained-|literal\[|list\[|tuple\[|dict\[).*")
"""Parts of pydantic's paths that are no fields: the kinds that a union is made of."""
COLUMN = "a list with one entry for each completion"
COLUMNS = {"prompts", "completions", "outcomes", "prompt_ids", "group_ids", "index", "answers", "labels", "truncated"}
PRIVATE = {"prompts", "completions", "prompt", "completion", "query"}
"""Fields whose texts are not repeated."""
SHOWN_CHARS = 80
"""Characters that are shown of a value."""


@dataclass(frozen=True)
class Refusal:
    """One refused field."""

    says: str
    """A sentence."""
    value: Any
    """What was sent, shortened; of a prompt or a completion only what kind of value."""
    limit: Any
    """What is allowed."""
    remedy: str | None = None


def distinct(errors: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """pydantic's errors, one for each field: where a value may have several kinds, it lists an error for each kind."""
    one_each = []
    for _, group in groupby(errors, key=_union):
        deepest = max((listed := list(group)), key=lambda one: len(place_of(one)))
        same = [one for one in listed if place_of(one) == place_of(deepest)]
        kinds = list(dict.fromkeys(kind for one in same if (kind := _expected(one)) is not None))
        if len(kinds) > 1:
            expected = " or ".join(kinds)
            context = {"expected": expected}
            deepest = {**deepest, "type": "kinds", "ctx": context, "msg": f"must be {expected}"}
        one_each.append(deepest)
    return one_each


def refusal(error: Mapping[str, Any], null: str = "null") -> Refusal:
    """An error of pydantic, in words.

    Args:
        error: one of `distinct`.
        null: what the caller's language calls a missing value.
    """
    kind, given, context = error["type"], error.get("input"), error.get("ctx", {})
    field, value = path(place_of(error)), _value(error, null)
    shown = null if given is None else _shown(given)
    if kind in BOUNDS and isinstance(given, str):  # a number of a query, where every value is a text
        shown = given[:SHOWN_CHARS]
    remedy = context.get("remedy")
    limit: Any
    if kind == "unfit":
        limit, says = context["limit"], context["message"]
    elif kind == "extra_forbidden":
        limit, says = context.get("limit", ""), f"there is no field {str(error['loc'][-1])[:64]!r}"
        if above := place_of(error)[:-1]:
            says = f"{path(above)}: {says}"
    elif kind == "literal_error":
        limit = context["expected"]
        shown = repr(given[:SHOWN_CHARS]) if isinstance(given, str) else shown
        says = f"{field} is {shown}, but must be {limit}"
        if error["loc"][-1] == "[key]":
            says = f"{path(place_of(error)[:-1])} names {shown}, but a name there must be {limit}"
        if near := nearest_choice(given, limit):
            remedy = f"Did you mean {near!r}?"
    elif kind == "name":
        limit = context["limit"]
        says = f"{field} is {context['given']}, but a name is {limit}"
        if near := name_like(str(given)):
            remedy = f"Write {near!r}, for example."
    elif kind in LENGTHS and given is not None:
        key, word = LENGTHS[kind]
        limit = f"{word} {_many(context[key], given)}"
        says = f"{field} has {_many(len(given), given)}, but must have {limit}"
    elif kind == "missing":
        limit, says = "a required field", f"{field} is missing"
    elif (expected := _expected(error)) is not None:
        limit = expected
        says = f"{field} is {shown}, but must be {limit}"
        remedy = _remedy(kind, field, given)
    else:
        message = error["msg"].removeprefix("Value error, ")
        limit = str(context.get("limit") or context.get("pattern") or message)
        says = f"{field}: {message}" if field != WHOLE else message
    return Refusal(f"{says}.", value, limit, remedy)


def place_of(error: Mapping[str, Any]) -> list[str | int]:
    """The place of an error as the caller wrote it: names of fields and numbers of entries."""
    loc = list(error["loc"])
    unknown = [loc.pop()] if error["type"] == "extra_forbidden" and loc else []
    kept = [part for at, part in enumerate(loc) if isinstance(part, int) or not at or not TAG.fullmatch(part)]
    return [part if isinstance(part, int) else str(part)[:64] for part in (*kept, *unknown)]


def path(place: Sequence[str | int]) -> str:
    """A place as Python writes it, for example outcomes[1] or embeddings.prompts."""
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return written.lstrip(".") or WHOLE


def shortened(given: Any) -> str:
    """A value as JSON, of a long one the beginning. It takes no longer than that."""
    written = ""
    with suppress(ValueError, RecursionError):
        encoder = json.JSONEncoder(ensure_ascii=False, skipkeys=True, default=lambda value: type(value).__name__)
        for piece in encoder.iterencode(given):
            written += piece[: SHOWN_CHARS + 1]
            if len(written) > SHOWN_CHARS:
                return f"{written[:SHOWN_CHARS]}..."
    return written


def _union(error: Mapping[str, Any]) -> tuple[Any, ...]:
    """What errors have in common that are about one value: its place, without the kind that it was taken for."""
    loc: tuple[Any, ...] = error["loc"]
    for at, part in enumerate(loc):
        if at and isinstance(part, str) and not part.startswith(("<", "[")) and TAG.fullmatch(part):
            return loc[:at]
    return loc or (error["type"],)


def _expected(error: Mapping[str, Any]) -> str | None:
    """What the value must be, if the kind of error says that."""
    kind, context = error["type"], error.get("ctx", {})
    last = error["loc"][-1] if error["loc"] else ""
    if kind == "list_type" and last in COLUMNS:
        return COLUMN
    if kind == "model_type" and "<messages>" in error["loc"]:
        return "an object with role and content"
    if kind in BOUNDS:
        key, word = BOUNDS[kind]
        bound = context.get(key)
        return f"{word} {bound:g}" if isinstance(bound, float) else f"{word} {bound}"
    if kind in ("kinds", "literal_error"):
        return str(context["expected"])
    return str(context["limit"]) if kind == "request_id" else EXPECTED.get(kind)


def _remedy(kind: str, field: str, given: Any) -> str | None:
    """What to do about a value of the wrong kind."""
    if kind == "list_type" and isinstance(given, str):
        return "Put it in brackets, if there is only one."
    if kind in NUMBERS and isinstance(given, str):
        with suppress(ValueError):
            if math.isfinite(float(given)):
                return f'Send the number {given.strip()[:40]}, not the text "{given.strip()[:40]}".'
    if kind == "string_type" and isinstance(given, int | float) and not isinstance(given, bool):
        return f'Send the text "{_shown(given)}", not the number.'
    if field.startswith("outcomes["):
        missing = given is None or (isinstance(given, float) and math.isnan(given))
        missing_one = "Leave out completions that have no outcome."
        return missing_one if missing else "Send a number, for example 1 for right and 0 for wrong."
    return None


def _shown(given: Any) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, int | float):
        return f"{given:g}" if isinstance(given, float) else str(given)[:40]
    kinds: dict[type, str] = {str: "a text", list: "a list", tuple: "a list", dict: "an object", bytes: "bytes"}
    return kinds.get(type(given), f"a value of type {type(given).__name__}")


def _many(number: int, given: Any) -> str:
    """A number of what a value is made of."""
    if isinstance(given, str):
        return f"{number} character{'s' if number != 1 else ''}"
    return "1 entry" if number == 1 else f"{number} entries"


def _value(error: Mapping[str, Any], null: str) -> Any:
    """What was sent, shortened."""
    kind, given, loc = error["type"], error.get("input"), error["loc"]
    if "value" in error.get("ctx", {}):
        return error["ctx"]["value"]
    if kind == "extra_forbidden":
        return str(loc[-1])[:SHOWN_CHARS]
    if kind == "missing" and isinstance(given, dict):
        return f"only {', '.join(str(name)[:40] for name in list(given)[:12])}" if given else "no fields"
    if given is None:
        return null
    if isinstance(given, bool | int | float):
        return given if abs(given) < 2**53 else str(given)[:SHOWN_CHARS]
    if not loc or not PRIVATE.isdisjoint(loc[:1]):
        many = f" of {_many(len(given), given)}" if isinstance(given, str | list | dict) else ""
        return f"{_shown(given)}{many}"
    return given[:SHOWN_CHARS] if isinstance(given, str) else shortened(given)
