"""Every command of `memr`, with its arguments and options, from the functions' signatures."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import typer
from memr_service.cli import commands
from typer.models import ArgumentInfo, OptionInfo

from docs.generate import docstrings
from docs.generate.markdown import table

TAKES = {int: "integer", float: "number", str: "text", Path: "path"}


def cli() -> str:
    """A section for each command, in the order of `memr --help`."""
    return "\n\n".join(_section(name, function) for name, function in every_command("memr", commands.app))


def every_command(name: str, app: typer.Typer) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Full name and function of each command, those of groups last."""
    for one in app.registered_commands:
        assert one.callback is not None
        yield f"{name} {one.name or one.callback.__name__.replace('_', '-')}", one.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from every_command(f"{name} {group.name}", group.typer_instance)


@dataclass(frozen=True)
class Parameter:
    """An argument or option of a command."""

    name: str
    info: ArgumentInfo | OptionInfo
    takes: Any
    given: Any
    """What it is where it is not given; `inspect.Parameter.empty` where it must be."""

    @property
    def shown(self) -> str:
        """How it is written: `FILE`, or `--name`."""
        if isinstance(self.info, ArgumentInfo):
            return f"`{self.info.metavar or self.name.upper()}`"
        long = f"--{self.name.replace('_', '-')}"
        flags = [long, f"--no-{long[2:]}"] if self.takes is bool else [long]
        # Inside `Annotated`, typer keeps the first name that was given as the default.
        named = [one for one in (self.info.default, *(self.info.param_decls or ())) if isinstance(one, str)]
        return ", ".join(f"`{one}`" for one in named or flags)

    @property
    def type(self) -> str:
        """What it takes, in words; nothing for a flag."""
        if typing.get_origin(self.takes) is Literal:
            return ", ".join(f"`{one}`" for one in typing.get_args(self.takes))
        if inspect.isclass(self.takes) and issubclass(self.takes, Enum):
            return ", ".join(f"`{one.value}`" for one in self.takes)
        if typing.get_origin(self.takes) is list:
            return "may be repeated"
        return TAKES.get(self.takes, "")

    @property
    def default(self) -> str:
        """What it is where it is not given."""
        if self.given is inspect.Parameter.empty:
            return "required"
        shown = self.info.show_default if isinstance(self.info.show_default, str) else None
        if shown is None and self.given not in (None, False, "", [], ()) and self.info.show_default:
            shown = str(getattr(self.given, "value", self.given))
        variable = f"`{self.info.envvar}`" if self.info.envvar else ""
        return ", else ".join(part for part in (variable, f"`{shown}`" if shown else "") if part)


def parameters(function: Callable[..., Any]) -> list[Parameter]:
    """The arguments and options of a command, in its order."""
    hints = typing.get_type_hints(function, include_extras=True)
    found = []
    for name, one in inspect.signature(function).parameters.items():
        takes, *extras = typing.get_args(hints[name])
        info = next(extra for extra in extras if isinstance(extra, ArgumentInfo | OptionInfo))
        found.append(Parameter(name, info, _without_none(takes), one.default))
    return found


def _without_none(takes: Any) -> Any:
    if isinstance(takes, types.UnionType) or typing.get_origin(takes) is typing.Union:
        return next(one for one in typing.get_args(takes) if one is not type(None))
    return takes


def _section(name: str, function: Callable[..., Any]) -> str:
    every = [one for one in parameters(function) if not getattr(one.info, "hidden", False)]
    arguments = [one for one in every if isinstance(one.info, ArgumentInfo)]
    options = [one for one in every if isinstance(one.info, OptionInfo)]
    usage = " ".join([name, *(one.shown.strip("`") for one in arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"## `{name}`", _help(function), f"Usage: `{usage}`"]
    if arguments:
        parts.append(table(["argument", "meaning"], [[one.shown, one.info.help or ""] for one in arguments]))
    if options:
        rows = [[one.shown, one.type, one.default, one.info.help or ""] for one in options]
        parts.append(table(["option", "takes", "default", "meaning"], rows))
    return "\n\n".join(part for part in parts if part)


def _help(function: Callable[..., Any]) -> str:
    """The docstring; its fenced examples are marked as text, since they name files and runs that are not there."""
    lines, inside = [], False
    for line in docstrings.of(function).replace("\b\n", "").splitlines():
        if line.startswith("```"):
            inside = not inside
            line = "```text" if inside else "```"
        lines.append(line)
    return "\n".join(lines)
