"""`POST /openrlhf/{run_id}` where a process of its own judges mathematics."""

from memr_service.app import create_app
from memr_service.settings import Settings
from starlette.testclient import TestClient


def test_mathematics_is_judged_out_of_process():
    completions = (r"\boxed{\frac{24}{2}}", r"\boxed{13}")
    sent = {
        "query": [f"What is 7 + 5?{completion}" for completion in completions],
        "prompts": ["What is 7 + 5?"] * 2,
        "labels": ["$12$"] * 2,
    }
    with TestClient(create_app(Settings(store="memory:", encoder="hashed", preload=False))) as client:
        client.put("/runs/math", json={"verifier": "math", "explore_warmup_steps": 0})
        response = client.post("/openrlhf/math", json=sent)
    assert response.status_code == 200, response.text
    assert response.json()["scores"] == [1.0, 0.0]
