"""JSON Schema in words: the type of a field as a reader wants it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]
Link = Callable[[str], str]
"""Name of a schema -> how a page refers to it."""

HUGE = 2**53
"""Bounds from here on only say that a number must fit into 64 bits."""


def code(name: str) -> str:
    """The name as code."""
    return f"`{name}`"


def in_words(schema: Schema, link: Link = code) -> str:
    """A schema's type, such as "integer, 1 to 10,000" or "list of strings"."""
    if "$ref" in schema:
        return link(schema["$ref"].rpartition("/")[2])
    if options := schema.get("anyOf", schema.get("oneOf")):
        return _either([in_words(one, link) for one in _spread(options)])
    if "allOf" in schema:
        return in_words(schema["allOf"][0], link)
    if "const" in schema:
        return value(schema["const"])
    if "enum" in schema:
        return listed([value(one) for one in schema["enum"]])
    words = {"array": _array, "object": _object, "integer": _number, "number": _number, "string": _string}
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return _either([in_words({**schema, "type": one}, link) for one in kind])
    return words[kind](schema, link) if kind in words else str(kind)


def _spread(options: Sequence[Schema]) -> Iterator[Schema]:
    """Every value of an enumeration as an option of its own."""
    for one in options:
        if "enum" in one:
            yield from ({"const": value} for value in one["enum"])
        else:
            yield one


def _either(options: list[str]) -> str:
    return listed(options) if len(options) > 2 or " " not in options[0] else ", or ".join(options)


def listed(names: list[str]) -> str:
    """Names as a list in a sentence: a, b or c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def value(one: Any) -> str:
    """A value as code, the way JSON writes it."""
    return f"`{json.dumps(one, ensure_ascii=False)}`"


def default(schema: Schema, *, required: bool) -> str:
    """A field's default as code, or that it has none."""
    if required:
        return "required"
    return value(schema["default"]) if "default" in schema else ""


def _array(schema: Schema, link: Link) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(in_words(one, link) for one in schema['prefixItems'])}]"
    return f"list of {in_words(schema['items'], link)}" if schema.get("items") else "list"


def _object(schema: Schema, link: Link) -> str:
    values = schema.get("additionalProperties")
    return f"object, name to {in_words(values, link)}" if isinstance(values, dict) and values else "object"


def _number(schema: Schema, link: Link) -> str:
    kind = schema["type"]
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{kind} from {_plain(low)} to {_plain(high)}"
    if low is not None and (below is None or below >= HUGE):
        return f"{kind} of {_plain(low)} or more"
    bounds = [
        f"{words} {_plain(bound)}"
        for words, bound in (("at least", low), ("above", above), ("at most", high), ("below", below))
        if bound is not None
    ]
    return f"{kind} {' and '.join(bounds)}" if bounds else str(kind)


def _string(schema: Schema, link: Link) -> str:
    if schema.get("format") == "path":
        return "path"
    if schema.get("format") == "binary":
        return "file"
    least, most = schema.get("minLength"), schema.get("maxLength")
    if most is None:
        return "string"
    return (
        f"string of {_plain(least)} to {_plain(most)} characters"
        if least
        else f"string of up to {_plain(most)} characters"
    )


def _plain(number: float) -> str:
    return f"{number:,}"
