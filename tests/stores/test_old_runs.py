"""Runs that an earlier version wrote: they open, replay and go on as they did there."""

from __future__ import annotations

import json
import lzma
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from memr_service.__main__ import main
from memr_service.state.codec import seal, unseal
from memr_service.store import open_store
from memr_service.store.lineage import clipped, lineage
from support.old_runs import FOR_EVER, OLD, asked, expected, redis_dump, rewards, unpack, untimed
from support.redis_dump import load
from support.redis_server import RedisServer

EXPECTED = expected()
ENCODED = ("guarded", "texts")
OCTETS = {"Content-Type": "application/octet-stream"}
"""Runs whose texts the server encodes: their rewards are equal to rounding only."""
EXPORTED = sorted(file.name.partition(".")[0] for file in OLD.glob("*.memr.xz"))

Said = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(params=EXPECTED)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def said(kind: str) -> Said:
    """What the earlier version said of the runs, by name."""
    found: Said = EXPECTED[kind]
    return found


@pytest.fixture
def url(kind: str, tmp_path: Path, server: RedisServer) -> str:
    """The address of a copy of what it left."""
    if kind == "sqlite":
        return f"sqlite:///{unpack(tmp_path)}"
    with server.client() as client:
        client.flushall()
        load(client, redis_dump())
    return server.url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with asked(url) as client:
        yield client


def get(client: httpx.Client, route: str, **params: Any) -> Any:
    return client.get(f"/runs/{route}", params=params).raise_for_status().json()


NEWER: dict[str, Any] = {
    "equal_spread": None,
    "extract": None,
    "prior_runs": None,
    "repair": None,
    "unit": "whole",
    "combine_turns": "mean",
    "spread_of": "outcomes",
}
"""Fields of a config that did not exist then, and what an older run has in them: nothing that changes a reward."""


def info_as_then(client: httpx.Client, name: str) -> Any:
    """What a run says of itself, without the fields that did not exist then."""
    info = get(client, name, digest=1)
    assert {field: info["config"].pop(field) for field in NEWER} == NEWER
    return info


def go_on(client: httpx.Client, name: str, rounds: list[list[dict[str, Any]]]) -> None:
    """Send a run's next requests: their rewards, and with sent embeddings every other value, are what they were."""
    for exchanges in rounds:
        responses = rewards(client, [{**one["request"], "run_id": name} for one in exchanges])
        for response, one in zip(responses, exchanges, strict=True):
            found, wanted = response.json(), json.loads(one["response"])
            assert found["rewards"] == pytest.approx(wanted["rewards"], abs=1e-5 if wanted["run_id"] in ENCODED else 0)
            if wanted["run_id"] not in ENCODED:
                same = {"timing_ms": {}, "run_id": name, "branch": 0}
                newer = {field: found[field] for field in ("why_zero",)}
                assert found | same == wanted | same | newer


def test_every_run_has_the_position_chain_and_digest_that_it_had(client: httpx.Client, said: Said) -> None:
    assert {run["run_id"] for run in client.get("/runs").raise_for_status().json()["runs"]} == said.keys()
    for name, run in said.items():
        info = info_as_then(client, name)
        assert {field: info[field] for field in run["info"]} == run["info"]


def test_every_run_has_the_history_and_checkpoints_that_it_had(client: httpx.Client, said: Said) -> None:
    for name, run in said.items():
        assert get(client, f"{name}/history") == run["history"]
        assert get(client, f"{name}/checkpoints")["checkpoints"] == run["checkpoints"]


def test_a_retry_gets_the_response_that_was_stored(client: httpx.Client, said: Said) -> None:
    exchanges = [one for run in said.values() for one in run["given"]]
    assert len(exchanges) > 100
    for one in exchanges:
        (response,) = rewards(client, [one["request"]])
        assert response.headers["Idempotency-Replayed"] == "true"
        assert untimed(response.text) == untimed(one["response"])


def test_every_run_goes_on_as_it_did(client: httpx.Client, said: Said) -> None:
    for name, run in said.items():
        go_on(client, name, run["next"])


def test_a_branch_that_was_left_is_restored(client: httpx.Client, said: Said) -> None:
    info = client.post("/runs/plain/restore", json={"checkpoint": "end"}).raise_for_status().json()
    assert info["chain"] == said["fork"]["info"]["chain"]
    assert get(client, "plain", digest=1)["digest"] == said["fork"]["info"]["digest"]
    go_on(client, "plain", said["fork"]["next"])


@pytest.mark.parametrize("name", EXPORTED)
def test_an_exported_run_is_imported_and_goes_on(name: str, tmp_path: Path) -> None:
    run, file = EXPECTED["sqlite"][name], lzma.decompress((OLD / f"{name}.memr.xz").read_bytes())
    with asked(f"sqlite:///{tmp_path}") as client:
        client.post("/runs/copy/import", content=file, headers=OCTETS).raise_for_status()
        info = info_as_then(client, "copy")
        same = ("position", "chain", "digest", "step", "memory", "windows", "created_at", "config", "encoder")
        assert {field: info[field] for field in same} == {field: run["info"][field] for field in same}
        go_on(client, "copy", run["next"])


@pytest.mark.parametrize("name", EXPECTED["sqlite"])
def test_the_command_line_verifies_it(name: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["memr", "verify", name, "--data", str(unpack(tmp_path))])
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit) as stop:
        main()
    printed = "".join(capsys.readouterr())
    assert not stop.value.code, printed
    assert EXPECTED["sqlite"][name]["info"]["chain"] in printed


def test_a_record_is_written_as_it_was(url: str) -> None:
    with closing(open_store(url, FOR_EVER["answer_hours"])) as store:
        for run in store.runs.all():
            spans = clipped(lineage(store.journal.branches(run.uid)), run.base)
            payloads = [record.payload for record in store.journal.records(run.uid, spans)]
            assert [seal(unseal(payload))[1] for payload in payloads] == payloads


def test_a_bounded_journal_is_verified_from_its_oldest_snapshot_on(client: httpx.Client, said: Said) -> None:
    lines = client.post("/runs/bounded/replay", json={"settings": [{}]}).raise_for_status().text.splitlines()
    result = json.loads(lines[-1])["result"]
    assert result["first_position"] == 21
    assert result["settings"][0]["difference"] is None


def test_texts_are_still_there(tmp_path: Path) -> None:
    with asked(f"sqlite:///{unpack(tmp_path)}") as client:
        assert "We multiply" in client.get("/runs/texts/completions").raise_for_status().text
