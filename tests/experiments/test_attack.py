"""`make attack`: its forgeries and mutations are as described, and a short run leaves the service whole."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from memr_client.errors import ProblemError
from memr_service.app import create_app
from memr_service.app.openapi import BODIES
from memr_service.settings import Settings
from support.in_process import InProcess

from benchmarks import report
from benchmarks.attack import archives, client
from benchmarks.attack.__main__ import ATTACKS, CALM
from benchmarks.attack.bystanders import Seen
from benchmarks.attack.mutations import mutated
from benchmarks.attack.server import Memory
from benchmarks.attack.table import Outcome

ROOT = Path(__file__).parents[2]


def test_every_body_of_the_document_is_mutated() -> None:
    assert client.BODIES.keys() == {one.__name__ for one in BODIES}
    app = create_app(Settings(store="memory:", encoder="hashed", preload=False))
    with TestClient(app, base_url="http://localhost") as server:
        for schema, bodies in client.BODIES.items():
            model = next(one for one in BODIES if one.__name__ == schema)
            for body in bodies:
                model.model_validate(body)
        assert server.get("/livez").status_code == 200


def test_a_mutation_changes_a_copy_and_is_the_same_for_the_same_seed() -> None:
    body = {"a": [1, "b", None], "c": {"d": 0.5}}
    before = json.dumps(body)
    made = [repr(mutated(random.Random(seed), body)) for seed in range(100)]
    assert json.dumps(body) == before
    assert made == [repr(mutated(random.Random(seed), body)) for seed in range(100)]
    assert len(set(made)) > 50


COPIED = """
import os, sys, time
kept = b"x" * (200 << 20)
if os.fork():
    print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_memory_that_a_process_shares_with_its_copy_counts_once() -> None:
    with subprocess.Popen([sys.executable, "-c", COPIED], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        memory = Memory(process.pid)
        assert 200 < memory.now() < 300
        memory.stop()
        os.killpg(process.pid, signal.SIGKILL)


def test_a_forged_archive_is_refused_or_makes_a_run_that_answers_every_question() -> None:
    rng, made, refused = random.Random(0), 0, 0
    with InProcess("memory:") as service:
        service.create("run", preset="memory-r+", explore_warmup_steps=0)
        for step in range(6):
            service.reward(
                run_id="run",
                prompts=[f"q{item % 2}" for item in range(6)],
                completions=[f"{step} {item}" for item in range(6)],
                outcomes=[float(item % 2) for item in range(6)],
                embeddings={
                    "prompts": [[1.0, float(item % 2)] for item in range(6)],
                    "completions": [[float(step), item + 1.0] for item in range(6)],
                },
            )
        exported = service.export("run")
        for _ in range(150):
            try:
                service.import_run("forged", archives.forged(rng, exported))
            except ProblemError:
                refused += 1
                continue
            made += 1
            assert service.info("forged").position >= 0
            assert all(row.items for row in service.history("forged"))
            service.delete("forged")
    assert made > 10
    assert refused > 50


def test_an_outcome_names_what_does_not_hold() -> None:
    calm = Seen(rewards=[3.0] * 100, probes=[2.0])
    assert Outcome("one", calm, 10.0, {200: 5, 422: 3}).failures == []
    assert Outcome("one", calm, 10.0, {500: 1}).failures == ["server errors"]
    assert Outcome("one", calm, 600.0, {200: 1}, must_refuse=True).failures == ["accepted", "memory"]
    assert Outcome("one", Seen(), 10.0).failures == ["trainer", "p99", "probes"]
    slow = Seen(rewards=[3.0] * 90 + [5000.0] * 10, unanswered=1, probes=[200.0], failed=1)
    assert Outcome("one", slow, 10.0).failures == ["trainer", "p99", "probes fail", "probes"]


@pytest.mark.slow
def test_a_short_run_of_all_attacks_leaves_the_service_whole() -> None:
    """Times are not looked at: they need an idle machine."""
    command = [sys.executable, "-m", "benchmarks.attack", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert "Traceback" not in done.stderr, done.stderr
    rows = {row["name"]: row for row in json.loads((report.FOLDER / "attack.json").read_text())["rows"]}
    for attack in ATTACKS:
        name = attack.name.replace(" ", "_")
        assert rows[f"{name}_server_errors"]["value"] == 0, done.stdout
        assert rows[f"{name}_accepted"]["holds"] is not False, done.stdout
    assert rows[f"{CALM.name.replace(' ', '_')}_trainer_unanswered"]["value"] == 0
