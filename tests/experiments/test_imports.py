"""Every command that measures can at least be imported: none is behind a change of what it uses."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


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
for name in ("chromadb", "chromadb.config"):  # installed by the one command that compares with it
    sys.modules[name] = unittest.mock.MagicMock()
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code, *modules], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
