"""Outcomes by a verifier are inputs of the records: a replay, in a process of its own, does not judge again."""

import json

from memr_service.app import create_app
from memr_service.settings import Settings
from memr_service.verifiers import VERIFIERS
from starlette.testclient import TestClient


def test_a_run_is_reproduced_by_a_server_whose_verifier_judges_otherwise(tmp_path, monkeypatch):
    completions = ("It is 12.", "13", "5/12")
    sent = {
        "query": [f"What is 7 + 5?{completion}" for completion in completions],
        "prompts": ["What is 7 + 5?"] * 3,
        "labels": [12] * 3,
    }
    settings = Settings(store=f"sqlite:///{tmp_path}", encoder="hashed", preload=False)
    with TestClient(create_app(settings)) as client:
        client.put("/runs/run", json={"verifier": "numeric", "explore_warmup_steps": 0})
        for _ in range(2):
            assert client.post("/openrlhf/run", json=sent).json()["scores"] == [1, 0, 0]
    for name in VERIFIERS:
        monkeypatch.setitem(VERIFIERS, name, lambda completion, answer: 0.5)
    with TestClient(create_app(settings)) as client:
        lines = client.post("/runs/run/replay", json={}).text.splitlines()
        (own,) = json.loads(lines[-1])["result"]["settings"]
        assert own["difference"] is None
        assert client.post("/openrlhf/run", json=sent).json()["scores"] == [0.5] * 3
