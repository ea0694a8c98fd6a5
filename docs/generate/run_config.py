"""A run's config: every field of `RunConfig`, and of what lies in it."""

from __future__ import annotations

from memr_client.schemas import MemoryQuality, Repair, RunConfig, WriteGates

from docs.generate.fields import as_sections, as_table, fields

ELSEWHERE = {
    "MemoryQuality": "#memory-quality",
    "WriteGates": "#write-gates",
    "Repair": "#repair",
    "Component": "components-and-guards.md",
    "PriorRun": "http-api.md#priorrun",
}


def link(name: str) -> str:
    """A model's name as a link to where it is described."""
    return f"[{name}]({ELSEWHERE[name]})"


def run_config() -> str:
    """Every field as a section: type, default and meaning."""
    return as_sections(list(fields(RunConfig, link)))


def memory_quality() -> str:
    """The fields of `memory`."""
    return as_table(list(fields(MemoryQuality, link)))


def write_gates() -> str:
    """The fields of `memory.gates`."""
    return as_table(list(fields(WriteGates, link)))


def repair() -> str:
    """The fields of `repair`."""
    return as_table(list(fields(Repair, link)))
