"""Every command that measures can at least be imported: none is behind a change of what it uses."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OF_ONE_COMMAND = ("chromadb", "chromadb.config", "playwright", "playwright.sync_api")
"""Packages that the `make` target of one command installs for it."""


def test_every_benchmark_imports():
    modules = [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for path in sorted((ROOT / "benchmarks").rglob("*.py"))
        if path.name != "__main__.py"
    ]
    assert len(modules) > 50
    code = """
import importlib, sys, unittest.mock
sys.path.append("tests")
for name in sys.argv.pop(1).split():
    sys.modules[name] = unittest.mock.MagicMock()
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, " ".join(OF_ONE_COMMAND), *modules], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
