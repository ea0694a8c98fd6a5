"""The HTTP API, from `openapi.json`, with the meaning of each field from the classes behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from memr_client import schemas
from memr_client.errors import PROBLEMS, ProblemError
from memr_service.app.auth import ROUTES

from docs.generate import docstrings, types
from docs.generate.markdown import table

CONTRACT = Path(__file__).parents[2] / "openapi.json"
PAGES = {
    "/": "The dashboard.",
    "/dashboard/{name}": "A file of the dashboard.",
    "/docs": "The API's interactive documentation.",
    "/openapi.json": "The API as an OpenAPI document.",
}
"""Routes that are no part of the contract: they are for people and tools."""
ELSEWHERE = {
    "RunConfig": "run-config.md",
    "MemoryQuality": "run-config.md#memory-quality",
    "WriteGates": "run-config.md#write-gates",
    "Component": "components-and-guards.md",
    "ComponentGuards": "components-and-guards.md#guards",
}
"""Schemas that have a page of their own."""


@cache
def contract() -> Any:
    """The OpenAPI document."""
    return json.loads(CONTRACT.read_text("utf-8"))


def routes() -> str:
    """Every route in one table: method, path, scope and what it does."""
    rows = []
    for path, methods in ROUTES.items():
        for method, scope in methods.items():
            found = contract()["paths"].get(path, {}).get(method.lower())
            does = f"[{found['summary']}](#{anchor(method, path)})" if found else PAGES[path]
            rows.append([f"`{method} {path}`", scope or "open", does])
    return table(["route", "scope", "does"], rows)


def anchor(method: str, path: str) -> str:
    """The anchor of a route's heading, as forges and Sphinx make it."""
    return f"{method} {path}".lower().translate({ord(one): None for one in "/{}."}).replace(" ", "-")


def operations() -> str:
    """A section for each route, by tag."""
    parts, told = [], set()
    for path, methods in contract()["paths"].items():
        for method, one in methods.items():
            tag = one["tags"][0]
            if tag not in told:
                told.add(tag)
                parts.append(f"## {tag.capitalize()}")
            parts += list(_operation(method.upper(), path, one))
    return "\n\n".join(parts)


def _operation(method: str, path: str, one: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{method} {path}`"
    scope = ROUTES[path][method]
    description = one["description"].partition("\n\nWhere the server has keys")[0]
    yield f"{one['summary']}.".replace("?.", "?")
    yield description
    yield f"Scope: `{scope}`." if scope else "Open to everybody, without a key."
    if parameters := one.get("parameters"):
        yield table(["parameter", "in", "type", "default", "meaning"], [_parameter(one) for one in parameters])
    if body := one.get("requestBody"):
        needed = "" if body["required"] else " It may be left out."
        yield f"Body: {_content(body['content'])}.{needed}"
    yield "\n".join(f"- {_response(*item)}" for item in one["responses"].items() if int(item[0]) < 400)
    if found := [f"{cls.status} {cls.title.lower()}" for cls in PROBLEMS.values() if _may(one["responses"], cls)]:
        yield f"Problems: {', '.join(sorted(found))}. [Errors](errors.md) says what each means."


def _parameter(one: Mapping[str, Any]) -> list[str]:
    schema = one["schema"]
    default = types.default(schema, required=one["required"])
    return [f"`{one['name']}`", one["in"], types.in_words(schema, link), default, one.get("description", "")]


def _may(responses: Mapping[str, Any], cls: type[ProblemError]) -> bool:
    """Whether a route names this problem among its responses."""
    return f"{cls.title}: " in responses.get(str(cls.status), {}).get("description", "")


def _response(status: str, one: Mapping[str, Any]) -> str:
    said = one["description"].replace("Successful Response", "done")
    content = _content(one.get("content", {}))
    return f"{status}: {said[:1].lower()}{said[1:].rstrip('.')}{f'; {content}' if content else ''}."


def _content(content: Mapping[str, Any]) -> str:
    named = dict.fromkeys(types.in_words(one.get("schema", {}), link) for one in content.values())
    return f"{' or '.join(named)} as {' or '.join(f'`{one}`' for one in content)}" if content else ""


def link(name: str) -> str:
    """A schema's name as a link to where it is described."""
    return f"[{name}]({ELSEWHERE.get(name, f'#{name.lower()}')})"


def bodies() -> str:
    """A section for each schema that has no page of its own: its fields."""
    every = contract()["components"]["schemas"].items()
    return "\n\n".join(_schema(name, one) for name, one in every if name not in ELSEWHERE)


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    cls = getattr(schemas, name)
    docs, required = docstrings.of_fields(cls), schema.get("required", ())
    fields = schema["properties"].items()
    rows = [[f"`{field}`", types.in_words(one, link), docs.get(field, "")] for field, one in fields]
    headings = ["field", "type", "meaning"]
    if not issubclass(cls, schemas.ResponseModel):
        headings.insert(2, "default")
        for row, (field, one) in zip(rows, fields, strict=True):
            row.insert(2, types.default(one, required=field in required))
    return f"### {name}\n\n{docstrings.prose(cls)}\n\n" + table(headings, rows)
