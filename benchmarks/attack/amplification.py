"""Small requests that would become much memory or time."""

from __future__ import annotations

import gzip
import random

import msgpack
import numpy as np

from benchmarks.attack.target import Attack, Target

ITEM = {"prompts": ["q"], "completions": ["a"], "outcomes": [1.0]}
UNPACKED = 4 << 20
"""Bytes of a body after unpacking."""
_PACKED: list[tuple[str, str, bytes]] = []
_FIELDS: list[tuple[str, str, bytes]] = []


def stepwise(target: Target) -> None:
    """A run whose barrier times out soon."""
    target.set_up("PUT", "/runs/attack-steps", {"barrier": "step", "barrier_timeout_s": 0.2})


def step_parts(target: Target, rng: random.Random) -> None:
    """A part of a step of very many."""
    parts = rng.choice([20_000_000, 2**31, 2**62, 1 << 16, 1000])
    body = {"run_id": "attack-steps", "step": rng.randrange(10**6), "part": 0, "parts": parts, **ITEM}
    target.send("POST", "/reward", body)


def bodies(target: Target) -> None:
    """Make the bodies before the attack begins."""
    n = UNPACKED
    prompts = b'{"run_id":"a","completions":[],"outcomes":[],"prompts":['
    fields = b"{" + b",".join(b'"%x":0' % one for one in range(100_000)) + b"}"
    made = [
        ("POST", "/reward", prompts + b"0," * (n // 2) + b"0]}"),
        ("POST", "/nemo-gym/a/aggregate_metrics", b'{"verify_responses":[' + b"{}," * (n // 3) + b"{}]}"),
        ("POST", "/reward", prompts + b"[" + b"{}," * (n // 3) + b"{}]]}"),
        ("POST", "/openrlhf/a", b'{"query":[],"prompts":[],"labels":[' + b"{}," * (n // 3) + b"{}]}"),
        ("POST", "/reward", b'{"run_id":"a","embeddings":{"prompts":[' + b"[]," * (n // 3) + b"[]]}}"),
        ("POST", "/reward", b"[" * (n // 64) + b"]" * (n // 64)),
        ("POST", "/runs/trainer/explain", b'{"prompt":"' + b"x" * n + b'","completion":"c"}'),
        ("POST", "/reward", b" " * (200 << 20)),
    ]
    _PACKED[:] = [(method, path, gzip.compress(raw, 1)) for method, path, raw in made]
    of_fields = [("POST", "/reward"), ("PUT", "/runs/a"), ("POST", "/runs/trainer/replay")]
    _FIELDS[:] = [(method, path, fields) for method, path in of_fields]


def amplified(target: Target, rng: random.Random) -> None:
    """Kilobytes of gzip that are megabytes of JSON, of the kind that becomes the most objects."""
    method, path, body = rng.choice(_PACKED)
    target.send(method, path, body, content_encoding="gzip")


def unknown_fields(target: Target, rng: random.Random) -> None:
    """A hundred thousand fields that do not exist."""
    target.send(*rng.choice(_FIELDS))


def dimensions(target: Target, rng: random.Random) -> None:
    """One completion with an embedding of very many numbers."""
    row = np.ones(rng.choice([2_500_000, 100_000, 65_537]), np.float32).tobytes()
    body = {"run_id": f"attack-wide-{rng.randrange(5)}", "embeddings": {"prompts": row, "completions": row}, **ITEM}
    target.send("POST", "/reward", msgpack.packb(body), content_type="application/msgpack")


ATTACKS = (
    Attack("step with 20 million parts", step_parts, stepwise),
    Attack("gzip amplification", amplified, bodies, attackers=2),
    Attack("unknown fields", unknown_fields, bodies, attackers=2),
    Attack("embeddings of 2.5 million dimensions", dimensions, attackers=2),
)
