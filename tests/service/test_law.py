"""A run keeps the law it was created under: what is read of a text does not change under it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from memr_client.schemas import RunConfig
from memr_service.encoder import Encoders
from memr_service.run.presets import resolve
from memr_service.state.law import LAW
from support.in_process import InProcess

TOOL = {"type": "function", "function": {"name": "search", "arguments": {"q": "weather"}}}


def saying(run_id: str, **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "5", **message}
    return {"run_id": run_id, "prompts": ["q"], "completions": [[said]], "outcomes": [1.0]}


def distances(service: InProcess, run_id: str) -> list[float]:
    """Raw exploit of what the run was taught, and of two completions that differ from it outside their content."""
    others: list[dict[str, Any]] = [{}, {"reasoning_content": "giraffes"}, {"tool_calls": [TOOL]}]
    return [
        service.reward(**saying(run_id, **message), mode="eval")["components"]["exploit"]["raw"][0]
        for message in others
    ]


@pytest.fixture
def service() -> Any:
    with InProcess("memory:", auto_create=False) as service:
        yield service


def test_a_new_run_reads_reasoning_and_tool_calls(service: InProcess) -> None:
    service.create("new", preset="memory-r")
    service.reward(**saying("new"))
    same, thinking, calling = distances(service, "new")
    assert same == 0 > max(thinking, calling)
    assert LAW == 4


def test_a_run_of_law_1_reads_contents_only_and_so_do_its_copies(service: InProcess) -> None:
    config = resolve(RunConfig(preset="memory-r"), "memory-r", "hashed")
    fingerprint = Encoders(["hashed"]).fingerprint("hashed", "float32", "truncate")
    service.store.runs.create("old", config.model_dump_json(), 1, json.dumps(fingerprint), "2025-01-01T00:00:00Z")
    service.reward(**saying("old"))
    service.fork("old", "forked")
    service.import_run("imported", service.export("old"))
    for name in ("old", "forked", "imported"):
        assert service.store.runs.find(name).law == 1  # type: ignore[union-attr]
        assert distances(service, name) == [0, 0, 0]


def test_a_completion_of_which_nothing_is_read_is_named_in_the_response_and_the_record(service: InProcess) -> None:
    service.create("run", preset="memory-r")
    (warning,) = service.reward(**saying("run", content=None, audio={"data": "x"}))["warnings"]
    assert "completions[0]" in warning
    assert service.reward(**saying("run", content=""))["warnings"] == []
