"""The server's settings: every `MEMR_` variable, and the thresholds of audits."""

from __future__ import annotations

from memr_service.cli import commands
from memr_service.insight.audits.rules import TEXTS
from memr_service.settings import Settings, Thresholds

from docs.generate.cli import parameters
from docs.generate.fields import Field, fields
from docs.generate.markdown import table

BYTES = {8 << 30: "8 GiB", 1 << 30: "1 GiB", 1 << 28: "256 MiB", 1 << 27: "128 MiB", 1 << 26: "64 MiB"}


def variables() -> str:
    """Every setting: its variable, default and meaning, and what it takes."""
    options = {one.name: one.shown for one in parameters(commands.serve)}
    rows = []
    for one in fields(Settings):
        option = f" Option: {options[one.name]}." if one.name in options else ""
        rows.append([f"`MEMR_{one.name.upper()}`", _default(one), f"{one.doc} Takes {_type(one)}.{option}"])
    return table(["variable", "default", "meaning"], rows)


def thresholds() -> str:
    """When each audit warns and alarms: the fields of `MEMR_AUDITS` that are named after audits."""
    rows = []
    for name, (figure, remedy) in TEXTS.items():
        warn, alarm = Thresholds.model_fields[name].default
        beyond = "above" if alarm >= warn else "below"
        rows.append([f"`{name}`", figure, f"{beyond} {warn:g}", f"{beyond} {alarm:g}", remedy])
    return table(["audit", "figure", "warns", "alarms", "what to do"], rows)


def audit_options() -> str:
    """The other fields of `MEMR_AUDITS`."""
    rows = [one for one in fields(Thresholds) if one.name not in TEXTS]
    return table(["field", "default", "meaning"], [[f"`{one.name}`", one.default, one.doc] for one in rows])


def _type(one: Field) -> str:
    """What it takes, as an environment variable can say it."""
    if one.name == "audits":
        return "JSON"
    named = {"string": "text", "boolean": "true or false", "path or null": "a path"}
    return named.get(one.type) or one.type.removesuffix(" or null").replace('"', "").replace(
        "list of string", "names with commas between"
    ).replace("integer", "an integer").replace("number", "a number")


def _default(one: Field) -> str:
    default = Settings.model_fields[one.name].default
    if isinstance(default, Thresholds):
        return "`{}`"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    if isinstance(default, str):
        return f"`{default}`" if default else "empty"
    if default is None:
        return "none"
    size = BYTES.get(default) if one.name.endswith("_bytes") else None
    return f"{one.default} ({size})" if size else one.default
