"""Words for what a schema refuses, the same from the client and from the service.

pydantic's errors name types of its own and links to its pages. `refusal` names the field, the value, what is allowed
and, where it is clear, what to do. Texts are not repeated, since they may be private; names and numbers are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
WHOLE = "the request"
TAGS = {"<text>", "<messages>", "[key]"}
"""Parts of pydantic's paths that are no fields."""
COLUMN = "a list with one entry for each completion"
COLUMNS = {"prompts", "completions", "outcomes", "prompt_ids", "group_ids", "index", "answers", "labels", "truncated"}


@dataclass(frozen=True)
class Refusal:
    """One refused field."""

    says: str
    """A sentence."""
    value: Any
    """The refused value: a number or a name; of a text, its type."""
    limit: str
    """What is allowed."""
    remedy: str | None = None


def refusal(error: Mapping[str, Any], null: str = "null") -> Refusal:
    """An error of pydantic, in words.

    Args:
        error: a member of `ValidationError.errors()`.
        null: what the caller's language calls a missing value.
    """
    kind, given, context = error["type"], error.get("input"), error.get("ctx", {})
    field = path(error["loc"])
    shown = null if given is None else _shown(given)
    value = null if given is None else _value(given, kind)
    if isinstance(given, str) and error["loc"][:1] == ("query",):  # all values of a query are texts
        value = given[:40]
        shown = value if kind in BOUNDS else repr(value)
    remedy = None
    if kind == "literal_error":
        limit = context["expected"]
        shown = repr(given[:80]) if isinstance(given, str) else shown
        says = f"{field} is {shown}, but must be {limit}"
        if near := nearest_choice(given, limit):
            remedy = f"Did you mean {near!r}?"
    elif kind == "name":
        limit = context["limit"]
        says = f"{field} is {context['given']}, but a name is {limit}"
        if near := name_like(str(given)):
            remedy = f"Write {near!r}, for example."
    elif kind in EXPECTED:
        last = error["loc"][-1] if error["loc"] else ""
        limit = COLUMN if kind == "list_type" and last in COLUMNS else EXPECTED[kind]
        if kind == "model_type" and "<messages>" in error["loc"]:
            limit = "an object with role and content"
        says = f"{field} is {shown}, but must be {limit}"
        if kind == "list_type" and isinstance(given, str):
            remedy = "Put it in brackets, if there is only one."
        elif field.startswith("outcomes["):
            remedy = "Leave out completions that have no outcome."
    elif kind in BOUNDS:
        key, word = BOUNDS[kind]
        limit = f"{word} {context.get(key)}"
        says = f"{field} is {shown}, but must be {limit}"
    elif kind == "missing":
        limit, says = "a required field", f"{field} is missing"
    else:
        message = error["msg"].removeprefix("Value error, ")
        if kind == "extra_forbidden":
            field = path(error["loc"][:-1])
        limit = str(context.get("limit") or context.get("pattern") or message)
        says = f"{field}: {message}" if field != WHOLE else message
    sentence = says if says.endswith("?") else f"{says}."
    return Refusal(sentence, value, limit, remedy)


def path(loc: Sequence[str | int]) -> str:
    """pydantic's path as Python writes it, for example outcomes[1] or embeddings.prompts."""
    parts = [part for part in loc if part not in TAGS]
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{str(part)[:64]}" for part in parts)
    return written.lstrip(".") or WHOLE


def _shown(given: Any) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, int | float):
        return f"{given:g}" if isinstance(given, float) else str(given)[:40]
    kinds: dict[type, str] = {str: "a text", list: "a list", tuple: "a list", dict: "an object", bytes: "bytes"}
    return kinds.get(type(given), f"a value of type {type(given).__name__}")


def _value(given: Any, kind: str) -> Any:
    if isinstance(given, bool | int | float):
        return given if abs(given) < 2**53 else str(given)[:80]
    if isinstance(given, str) and kind in ("literal_error", "name", "string_pattern_mismatch"):
        return given[:80]
    return f"a value of type {type(given).__name__}"
