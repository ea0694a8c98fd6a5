"""Fields of the wire's models, as tables and as sections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from docs.generate import docstrings, types
from docs.generate.markdown import table


@dataclass(frozen=True)
class Field:
    """One field: what it takes, what it is where nothing is given, and what it means."""

    name: str
    type: str
    default: str
    doc: str


def fields(model: type[BaseModel], link: types.Link = types.code, *, mode: Any = "validation") -> Iterator[Field]:
    """A model's fields, in its order."""
    schema = model.model_json_schema(mode=mode)
    docs, required = docstrings.of_fields(model), schema.get("required", ())
    for name, one in schema["properties"].items():
        info = model.model_fields[name]
        if info.default_factory is not None:
            one = {**one, "default": info.get_default(call_default_factory=True, validated_data={})}
        default = types.default(one, required=name in required and info.is_required())
        yield Field(name, types.in_words(one, link), default, docs.get(name, ""))


def as_table(rows: list[Field], first: str = "field") -> str:
    """The fields as a table."""
    return table([first, "type", "default", "meaning"], [[f"`{r.name}`", r.type, r.default, r.doc] for r in rows])


def as_sections(rows: list[Field], level: int = 3) -> str:
    """The fields as a section each, so that every one can be linked to."""
    return "\n\n".join(
        f"{'#' * level} `{row.name}`\n\n{row.type}; default {row.default}\n\n{row.doc}".rstrip() for row in rows
    )
