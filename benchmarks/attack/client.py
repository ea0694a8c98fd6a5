"""A client that changes valid requests to every route of the OpenAPI document, at random and reproducibly."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import quote, urlencode

import msgpack
import orjson

from benchmarks.attack.mutations import NUMBERS, TEXTS, WHOLE, mutated
from benchmarks.attack.target import Attack, Target

RUN = "mutated-run"
GROUP = {
    "run_id": RUN, "prompts": ["What is 7 + 5?"] * 2, "completions": ["It is 12.", "It is 11."], "outcomes": [1.0, 0.0],
}  # fmt: skip
ROLLOUT = {
    "responses_create_params": {"input": [{"role": "user", "content": "7 + 5?"}], "instructions": "Think."},
    "expected_answer": "12",
    "response": {
        "id": "resp_1",
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "7 and 5"}]},
            {"type": "function_call", "name": "add", "arguments": "{}", "call_id": "c"},
            {"type": "function_call_output", "output": "12", "call_id": "c"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is 12."}]},
        ],
    },
}
BODIES: dict[str, list[dict[str, Any]]] = {
    "RewardRequest": [
        GROUP,
        {**GROUP, "step": 3, "request_id": "id", "mode": "eval"},
        {**GROUP, "prompt_ids": ["a", "a"], "group_ids": ["g", "g"], "answers": ["12", "11"], "labels": ["12", "12"]},
        {**GROUP, "references": ["12", "12"], "answers": ["12", None]},
        {**GROUP, "truncated": [True, False], "index": [0, 1], "equal_spread": 0.5},
        {**GROUP, "prompts": [[{"role": "user", "content": "7 + 5?"}]] * 2},
        {**GROUP, "completions": [[{"role": "assistant", "content": [{"type": "text", "text": "12"}]}]] * 2},
        {**GROUP, "run_id": "mutated-step", "step": 1, "part": 0, "parts": 2},
        {**GROUP, "run_id": "mutated-group", "group_ids": ["g", "g"]},
        {
            **GROUP, "run_id": "mutated-sent",
            "embeddings": {"prompts": [[1.0, 0.0]], "completions": [[1.0, 1.0], [0.0, 1.0]], "prompt_of": [0, 0]},
        },
    ],
    "OpenRLHFRequest": [
        {"query": ["7 + 5? It is 12."], "prompts": ["7 + 5?"], "labels": ["12"]},
        {"query": ["7 + 5? It is 12."], "prompts": ["7 + 5?"], "labels": [{"answer": "12", "split": "train"}]},
        {"query": ["7 + 5? It is 12."], "prompts": ["7 + 5?"], "labels": [["12"]], "outcomes": [1.0]},
    ],
    "NeMoGymVerify": [
        ROLLOUT,
        {**ROLLOUT, "_ng_group_id": "g", "_ng_group_attempt": 1, "_ng_rollout_index": 0, "equal_spread": 0.25},
        {**ROLLOUT, "expected_answer": None, "verifier_metadata": {"expected_answer": 12, "split": "test"}},
    ],
    "NeMoGymSeed": [{"resources_session_id": "s"}],
    "NeMoGymResults": [
        {"verify_responses": [
            {"_ng_task_index": 0, "_ng_rollout_index": 0, "reward": 1.0, "response": {"usage": {"total_tokens": 5}}},
            {"_ng_task_index": 0, "_ng_rollout_index": 1, "reward": 0.0, "mask_sample": True},
        ]},
    ],
    "RunConfig": [
        {"preset": "memory-r+", "k": 3, "window": 50, "scaling": "item", "center": "group", "barrier": "none"},
        {"preset": "attempts", "components": {"exploit": {"weight": 1.0, "centroids": 2}, "explore": 0.5}},
        {"preset": "guarded", "barrier": "group", "group_size": 4, "barrier_timeout_s": 0.2, "verifier": "numeric"},
        {"reasoning_tags": ["<think>", "</think>"], "long_text": "auto", "storage": "float16", "seed": 5},
        {"components": {"value": 1.0, "contrast": 1.0, "banded_novelty": 1.0, "outcome_ucb": 1.0}},
        {"failure_threshold": 0.2, "max_prompts": 10, "max_completions": 5, "order": "read_first"},
        {"prompt_pattern": "user(.*)end", "min_similarity": 0.1, "explore_warmup_prompts": 2, "memory_weight": 0.5},
    ],
    "NewCheckpoint": [{"name": "c", "step": 5}],
    "Restore": [{"checkpoint": "c"}],
    "Fork": [{"run_id": "mutated-fork", "checkpoint": "c"}],
    "Explain": [
        {"prompt": "What is 7 + 5?", "completion": "It is 12.", "outcome": 1.0},
        {"position": 1, "item": 0},
        {"prompt": [{"role": "user", "content": "7"}], "completion": "12", "prompt_id": "a"},
    ],
    "ReplayRequest": [{"settings": [{"k": 2}, {"preset": "guarded"}]}],
    "PoolRequest": [{"prompt_ids": ["a", "b"]}, {"prompt_ids": ["a", "b"], "prompts": ["What is 7 + 5?", "b"]}],
    "PlanRequest": [
        {"n": 2, "group_size": 4},
        {"n": 1, "group_size": 2, "candidates": ["a", "b"], "exclude": ["b"], "step": 3, "objective": "target"},
    ],
    "PriorOutcomes": [{"prompt_ids": ["a", "b"], "right": [1, 2.5], "n": [4, 4]}],
    "DecisionsRequest": [
        {"decisions": [{"prompt_id": "a", "decision": "replace", "answer": "12"}]},
        {"decisions": [{"prompt": "What is 7 + 5?", "decision": "keep"}], "add": True},
    ],
}  # fmt: skip
"""Valid bodies by schema; `test_attack.py` checks that every schema of a body is here."""
HEADERS = (
    "accept", "content-encoding", "expect", "x-request-id", "x-request-timeout-ms", "authorization", "x-api-key",
    "origin", "host", "range", "if-none-match", "traceparent", "cookie", "forwarded", "x-forwarded-for",
)  # fmt: skip
_ROUTES: list[tuple[str, str, dict[str, Any]]] = []


def learn(target: Target) -> None:
    """Read the document, and make runs for it."""
    document = orjson.loads(target.set_up("GET", "/openapi.json"))
    _ROUTES[:] = [
        (method.upper(), path, one) for path, ones in document["paths"].items() for method, one in ones.items()
    ]
    target.set_up("PUT", f"/runs/{RUN}", {"preset": "memory-r+", "explore_warmup_steps": 0, "verifier": "numeric"})
    target.set_up("PUT", "/runs/mutated-step", {"barrier": "step", "barrier_timeout_s": 0.1})
    target.set_up("PUT", "/runs/mutated-group", {"barrier": "group", "group_size": 2, "barrier_timeout_s": 0.1})
    target.set_up("POST", "/reward", GROUP)
    target.set_up("POST", f"/runs/{RUN}/checkpoints", {"name": "c"})


def call(target: Target, rng: random.Random) -> None:
    """One changed request to any route."""
    method, path, described = rng.choice(_ROUTES)
    values = {one["name"]: one for one in described.get("parameters", ())}
    query = {name: text_of(rng, one) for name, one in values.items() if one["in"] == "query" and rng.random() < 0.5}
    headers = {name: text_of(rng, one) for name, one in values.items() if one["in"] == "header" and rng.random() < 0.2}
    run = f"mutated-{rng.randrange(20)}" if method in ("PUT", "DELETE") else rng.choice([RUN, RUN, "mutated-sent"])
    run = rng.choice(TEXTS) if rng.random() < 0.1 else run
    path = path.replace("{run_id}", quote(run[:3000], "")).replace(
        "{name}", quote(rng.choice(["c", *TEXTS])[:3000], "")
    )
    if rng.random() < 0.2:
        headers[rng.choice(HEADERS)] = rng.choice([*TEXTS, "9" * 5000, "gzip", "100-continue", "chunked"])
    sent: dict[str, Any] = {}
    if content := described.get("requestBody", {}).get("content"):
        media = rng.choice([*content])
        sent = {"body": body_of(rng, content[media], media), "content_type": media, "packed": rng.random() < 0.1}
    address = f"{path}?{urlencode(query)}" if query else path
    target.send(method, address[:60_000], **sent, **sendable(headers))


def body_of(rng: random.Random, content: dict[str, Any], media: str) -> bytes:
    """A valid body of a schema with one to three things changed, or with some of its bytes changed."""
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    if name not in BODIES:
        return rng.choice([b"memr run 1\n", b"", b"memr"]) + rng.randbytes(rng.randrange(60))
    body: Any = rng.choice(BODIES[name])
    for _ in range(rng.randrange(4)):
        body = mutated(rng, body)
    try:
        raw: bytes = orjson.dumps(body) if media == "application/json" else msgpack.packb(body)
    except (TypeError, ValueError, OverflowError):
        raw = b"{}"
    if raw and rng.random() < 0.1:
        at = rng.randrange(len(raw))
        raw = raw[:at] + rng.randbytes(rng.randrange(4)) + raw[at + 1 :]
    return raw


def text_of(rng: random.Random, described: dict[str, Any]) -> str:
    """A value for a parameter: one that fits, or any."""
    allowed = described.get("schema", {}).get("enum") or [1, 0, 5, "true", "false"]
    return str(rng.choice([*allowed, *allowed, *NUMBERS, *WHOLE]) if rng.random() < 0.7 else rng.choice(NUMBERS))


def sendable(headers: dict[str, str]) -> dict[str, str]:
    """Headers that httpx sends: others never reach the server."""
    return {name.replace("-", "_"): value for name, value in headers.items() if value.strip() and value.isprintable()}


ATTACKS = (Attack("mutating client over all routes", call, learn),)
