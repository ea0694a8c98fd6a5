"""What an import brings along, in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import memr_client", {"numpy", "torch", "fastapi", "memr_service"}),
        ("import memr_service.encoder", {"torch", "transformers", "sentence_transformers"}),
        ("import memr_service.cli.commands", {"torch", "transformers", "fastapi", "uvicorn", "pyarrow", "matplotlib"}),
        ("import memr_service.app", {"torch", "transformers", "typer"}),
    ],
)
def test_importing_a_part_does_not_pull_in_the_others(statement, absent):
    code = f"import sys; {statement}; print({absent!r} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_the_client_needs_nothing_but_httpx_and_pydantic():
    code = """
import sys
for name in ("numpy", "torch", "msgpack", "orjson", "fastapi", "starlette", "memr_service"):
    sys.modules[name] = None
from memr_client import AsyncRewardClient, RewardClient, calls
call = calls.reward(["q"], ["a"], [1.0], run_id="r", embeddings={"prompts": [[1.0]], "completions": [[2.0]]})
assert call.content_type == "application/json"
try:
    RewardClient.embedded()
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install '.[service]' in a clone of memr" in done.stdout
