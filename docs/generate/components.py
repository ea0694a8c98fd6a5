"""Components and guards: options from the schemas, formulas from the functions that compute them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from memr_client.schemas import COMPONENTS, Component, ComponentGuards, ComponentName
from memr_service.rewards import components, guards

from docs.generate import docstrings
from docs.generate.fields import as_table, fields
from docs.generate.markdown import table

MEASURES: dict[str, Callable[..., Any]] = {
    "topic_floor": guards.topic_floor,
    "neighbour_floor": guards.neighbour_floor,
    "max_repetition": guards.repeated_share,
    "max_copied": guards.copied_share,
    "max_foreign": guards.foreign_stretches,
    "answer_chars": guards.names_answer,
    "cap": guards.cap,
    "anneal": guards.anneal,
    "max_spread": guards.spread_cap,
    "equal_spread": guards.spread_limit,
    "bounds: p5-p95": guards.trimmed,
    "bounds: rank": guards.rank,
    "centroids": components.exploit_by_centroids,
}
"""Option -> the function that says what it measures."""


def options() -> str:
    """The options that every component has."""
    return as_table(list(fields(Component, _link)), "option")


def formulas() -> str:
    """A section for each component: formula and source of the function of its name, and the options it alone has."""
    return "\n\n".join(_section(name) for name in get_args(ComponentName))


def _section(name: str) -> str:
    common = set(Component.model_fields)
    own = [one for one in fields(COMPONENTS.get(name, Component)) if one.name not in common]
    parts = [f"### `{name}`", docstrings.as_markdown(docstrings.prose(getattr(components, name)))]
    return "\n\n".join([*parts, as_table(own, "option")] if own else parts)


def guard_options() -> str:
    """Every guard: what it takes, its default, and the reason that is reported."""
    rows = [
        [f"`{one.name}`", one.type, one.default, f"`{reason}`" if (reason := _reason(one.name)) else "", one.doc]
        for one in fields(ComponentGuards)
    ]
    return table(["guard", "type", "default", "reason", "meaning"], rows)


def measures() -> str:
    """What guards, bounds and centroids measure."""
    return "\n\n".join(
        f"### `{name}`\n\n{docstrings.as_markdown(docstrings.prose(function))}" for name, function in MEASURES.items()
    )


def _reason(guard: str) -> str:
    short = {"min_chars": "too_short", "max_chars": "too_long", "drop_truncated": "truncated"}
    return guards.REASONS.get(short.get(guard, guard.removeprefix("max_")), "")


def _link(name: str) -> str:
    return f"[{name}](#guards)"
