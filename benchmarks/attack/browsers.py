"""What a web page of another site can send through a visitor's browser."""

from __future__ import annotations

import random

from benchmarks.attack.target import Attack, Target

REWARD = {"run_id": "planted", "prompts": ["q"], "completions": ["a"], "outcomes": [1.0]}
SIMPLE = ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
"""Content types of requests that a browser sends anywhere without asking."""


def cross_site(target: Target, rng: random.Random) -> None:
    """A simple request, or one with another Origin, that would change something."""
    if rng.random() < 0.5:
        trainers = ["/openrlhf/trainer", "/nemo-gym/trainer/verify"]
        path = rng.choice(["/reward", "/runs/trainer/fork", "/runs/trainer/restore", *trainers])
        target.send("POST", path, REWARD, content_type=rng.choice(SIMPLE))
    else:
        method, path = rng.choice([("DELETE", "/runs/trainer"), ("PUT", "/runs/planted"), ("POST", "/reward")])
        target.send(method, path, REWARD, origin=rng.choice(["http://evil.example", "null", "http://localhost:1"]))


def rebound(target: Target, rng: random.Random) -> None:
    """A request by a name that somebody else made to stand for this machine."""
    path = rng.choice(["/runs", "/runs/trainer", "/runs/trainer/completions", "/metrics", "/openapi.json"])
    target.send("GET", path, host=rng.choice(["evil.example", "127.0.0.1.evil.example:8000", "localhost.evil.example"]))


ATTACKS = (
    Attack("simple cross-site requests", cross_site, refused=True),
    Attack("rebound Host", rebound, refused=True),
)
