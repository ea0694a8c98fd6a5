"""The parts of pages that are generated, and the pages with these parts as they should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from docs.generate import (
    cli,
    client,
    components,
    http_api,
    imports,
    limits,
    metrics,
    presets,
    problems,
    results,
    run_config,
    settings,
    versions,
)
from docs.generate.markdown import fill

ROOT = Path(__file__).parents[2]

BLOCKS: Mapping[str, Callable[[], str]] = {
    "routes": http_api.routes,
    "operations": http_api.operations,
    "bodies": http_api.bodies,
    "client-calls": client.calls,
    "client-in-trainers": client.in_trainers,
    "run-config": run_config.run_config,
    "memory-quality": run_config.memory_quality,
    "write-gates": run_config.write_gates,
    "repair": run_config.repair,
    "component-options": components.options,
    "components": components.formulas,
    "guards": components.guard_options,
    "measures": components.measures,
    "presets": presets.presets,
    "settings": settings.variables,
    "limits": limits.limits,
    "audits": settings.thresholds,
    "audit-options": settings.audit_options,
    "metrics": metrics.metrics,
    "problems": problems.problems,
    "problem-example": problems.example,
    "commands": cli.cli,
    "versions": versions.versions,
}
"""What a page can have between `<!-- generated: NAME -->` and `<!-- end -->`, from the code."""


def pages() -> list[Path]:
    """Every page: those beside the README, and those of the documentation."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def block(name: str) -> str:
    """A generated block."""
    if name not in BLOCKS:
        raise KeyError(f"there is no generated block {name!r}, only {', '.join(BLOCKS)}")
    return BLOCKS[name]()


def reference() -> dict[Path, str]:
    """Every page with what the code decides."""
    return {path: fill(path.read_text("utf-8"), "generated", block) for path in pages()}


def tables() -> dict[Path, str]:
    """Every page with the measured tables as the result files have them."""
    return {path: fill(path.read_text("utf-8"), "table", results.render) for path in pages()}


def drawing() -> dict[Path, str]:
    """The drawing of the imports between rooms."""
    return {ROOT / "docs/images/imports.svg": imports.drawing(ROOT)}


PARTS: Mapping[str, Callable[[], dict[Path, str]]] = {"reference": reference, "tables": tables, "drawing": drawing}
"""What `python -m docs.generate` writes, by name."""
