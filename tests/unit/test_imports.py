"""Who may import what: the borders between the parts, kept by reading the sources."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADAPTERS = tuple(f"client/memr_client/{trainer}" for trainer in ("trl", "openrlhf", "verl"))
"""Each is imported by users of its trainer alone, so it may import that trainer's libraries."""
SOURCES = [*ROOT.glob("client/memr_client/**/*.py"), *ROOT.glob("service/memr_service/**/*.py")]


STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
"""What an import can stand in."""


@dataclass(frozen=True)
class Import:
    """One imported module, and where it stands."""

    file: str
    module: str
    late: bool
    """Inside a function: it costs nothing until the function is called."""

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def imports_of(node: ast.AST, file: str, late: bool = False) -> Iterator[Import]:
    """All imports below a node but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(file, name.name, late) for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (Import(file, f"{child.module}.{name.name}", late) for name in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif isinstance(child, STATEMENTS):
            yield from imports_of(child, file, late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def imports() -> list[Import]:
    """All imports of the client and the service."""
    return [
        found
        for path in SOURCES
        for found in imports_of(ast.parse(path.read_text("utf-8")), path.relative_to(ROOT).as_posix())
    ]


def files_that_import(*modules: str) -> set[str]:
    return {found.file for found in imports() for module in modules if f"{found.module}.".startswith(f"{module}.")}


def outside(files: set[str], *allowed: str) -> set[str]:
    return {file for file in files if not file.startswith(allowed)}


def test_the_client_needs_httpx_and_pydantic_only():
    client = [found for found in imports() if found.file.startswith("client/") and not found.file.startswith(ADAPTERS)]
    tops = {found.top for found in client if not found.late}
    assert tops - set(sys.stdlib_module_names) == {"httpx", "pydantic", "pydantic_core", "memr_client"}


def test_the_client_reaches_for_the_service_only_where_it_embeds_it_and_only_then():
    reached = [found for found in imports() if found.file.startswith("client/") and found.top == "memr_service"]
    assert {found.file for found in reached} == {"client/memr_client/embedded.py"}
    assert all(found.late for found in reached)


def test_the_service_imports_only_schemas_and_errors_of_the_client():
    """The command line is a client of the service, so it may use `RewardClient`."""
    service = [found for found in imports() if found.file.startswith("service/") and found.top == "memr_client"]
    rooms = [found for found in service if not found.file.startswith("service/memr_service/cli/")]
    assert {found.module.rpartition(".")[0] for found in rooms} == {"memr_client.schemas", "memr_client.errors"}


def test_nothing_but_an_adapter_imports_an_adapter():
    adapters = [adapter.removeprefix("client/").replace("/", ".") for adapter in ADAPTERS]
    assert outside(files_that_import(*adapters), *ADAPTERS) == set()


@pytest.mark.parametrize(
    ("modules", "home"),
    [
        (("fastapi", "starlette", "uvicorn"), "service/memr_service/app/"),
        (("torch", "sentence_transformers", "transformers"), ("service/memr_service/encoder/", *ADAPTERS)),
        (("hnswlib",), "service/memr_service/memory/"),
        (("sqlite3",), "service/memr_service/store/"),
        (("redis",), "service/memr_service/store/redis"),
        (("ray",), ("service/memr_service/app/ray.py", *ADAPTERS)),
        (("typer", "rich", "pyarrow", "matplotlib"), "service/memr_service/cli/"),
        (("memr_service.cli",), ("service/memr_service/cli/", "service/memr_service/__main__.py")),
        (
            ("memr_service.app",),
            ("service/memr_service/app/", "service/memr_service/cli/", "client/memr_client/embedded"),
        ),
    ],
)
def test_each_library_has_one_home(modules, home):
    assert outside(files_that_import(*modules), *([home] if isinstance(home, str) else home)) == set()


def test_torch_is_imported_only_when_a_model_is_loaded():
    heavy = {"torch", "sentence_transformers", "transformers"}
    service = [found for found in imports() if found.file.startswith("service/")]
    assert [found for found in service if found.top in heavy and not found.late] == []
    assert files_that_import("torch"), "this test would pass without looking at anything"


def test_the_equations_are_pure_numpy():
    pure = "service/memr_service/rewards/components/"
    inside = ("memr_service.rewards.components.", "memr_service.memory.cosine.")
    tops = {found.top for found in imports() if found.file.startswith(pure) and not found.module.startswith(inside)}
    assert tops - set(sys.stdlib_module_names) == {"numpy"}


def test_the_engine_knows_neither_http_nor_the_command_line_nor_the_service_above_it():
    engine = ("rewards/", "run/", "state/", "memory/", "store/", "encoder/", "verifiers/")
    files = tuple(f"service/memr_service/{name}" for name in engine)
    above = files_that_import(
        "memr_service.app", "memr_service.cli", "memr_service.engine.service", "memr_client.client"
    )
    assert {file for file in above if file.startswith(files)} == set()


def test_no_file_is_a_drawer():
    drawers = {"utils", "util", "common", "helpers", "misc"}
    assert [path for path in SOURCES if drawers & {*path.parts, path.stem}] == []
