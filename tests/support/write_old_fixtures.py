"""Writes tests/data/old: runs of one version of memr, and what that version says of them.

PYTHONPATH=OLD/service:OLD/client:tests python -m support.write_old_fixtures

OLD is a checkout of that version. Every request is made here from seeded numbers, rounded so that JSON holds them
whole. The next requests are sent to a copy of the data folder, and to the same Redis after it was dumped.
"""

from __future__ import annotations

import json
import lzma
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from support.old_runs import OLD, asked, rewards
from support.redis_dump import dump
from support.redis_server import RedisServer

DIMENSION = 16
SMALL: dict[str, Any] = {"max_prompts": 6, "max_completions": 4, "window": 20}
PAPER: dict[str, Any] = {**SMALL, "preset": "memory-r+", "explore_warmup_steps": 2}
OFFICIAL: dict[str, Any] = {**SMALL, "preset": "official-memory-r+", "explore_warmup_prompts": 3}
PATIENT: dict[str, Any] = {"group_size": 4, "barrier_timeout_s": 3600}
MERGED: dict[str, Any] = {"merge_similarity": 0.95}
CURATED: dict[str, Any] = {**MERGED, "eviction": "value", "decay_steps": 6.0, "max_age": 8}
MANY: dict[str, Any] = {
    **{"exploit": {"weight": 1.0, "centroids": 2}, "explore": 0.5, "outcome_ucb": 0.5, "partition": 0.25},
    **{"value": {"weight": 1.0, "neighbours": 4}, "contrast": {"weight": 0.5, "window": 30}, "error_cluster": 1.0},
    **{"banded_novelty": 0.25, "random": 0.125, "shuffled": 0.125},
}
EXPORTED = ("plain", "guarded", "rolling", "bounded")

Body = dict[str, Any]
Round = list[Body]
"""Requests that are sent together."""


def embedded(run: str, number: int, **fields: Any) -> Body:
    """Eight completions of two prompts with their embeddings; every third completion nearly repeats an earlier one."""
    rng = np.random.default_rng([number, *run.encode()])
    first, second = rng.choice(9, size=2, replace=False).tolist()
    own, other = (np.random.default_rng(one).normal(size=DIMENSION) for one in (first, second))
    completions = rng.normal(size=(8, DIMENSION))
    completions[::3] = own + 0.02 * rng.normal(size=(3, DIMENSION))
    return {
        **{"run_id": run, "request_id": f"request {number}", "step": number},
        "prompts": [f"prompt {first}"] * 4 + [f"prompt {second}"] * 4,
        "completions": [f"completion {item} of request {number}" for item in range(8)],
        "outcomes": rng.integers(2, size=8).astype(float).tolist(),
        "embeddings": {
            "prompts": np.stack([own] * 4 + [other] * 4).round(2).tolist(),
            "completions": completions.round(2).tolist(),
        },
        **fields,
    }


def alone(run: str, number: int) -> Round:
    """One request that waits for nobody."""
    return [embedded(run, number)]


def stepless(run: str, number: int) -> Round:
    """The same without a step."""
    return [embedded(run, number, step=None)]


def answered(run: str, number: int) -> Round:
    """The same with the answers that `outcome_ucb` counts; every other request has labels for `partition`."""
    rng = np.random.default_rng(number)
    labels = {"labels": [f"label {one}" for one in rng.integers(3, size=8).tolist()]} if number % 2 else {}
    return [embedded(run, number, answers=[f"{one}" for one in rng.integers(4, size=8).tolist()], **labels)]


def parts(run: str, number: int) -> Round:
    """A step in two parts (barrier `step`)."""
    ranks = [{"step": number, "part": part, "parts": 2, "request_id": f"{number}/{part}"} for part in range(2)]
    return [embedded(run, 2 * number + part, **fields) for part, fields in enumerate(ranks)]


def halves(run: str, number: int) -> Round:
    """Two groups of four in two requests, two items of each group in either (barrier `group`)."""
    return [_half(embedded(run, number), part) for part in range(2)]


def half(run: str, number: int) -> Round:
    """One of these, and with the next number the other (barrier `snapshot`)."""
    return [_half(embedded(run, number // 2), number % 2)]


def _half(whole: Body, part: int) -> Body:
    items = [item for item in range(8) if item % 4 // 2 == part]
    columns = {name: [whole[name][item] for item in items] for name in ("prompts", "completions", "outcomes")}
    vectors = {name: [rows[item] for item in items] for name, rows in whole["embeddings"].items()}
    names = {
        "group_ids": [f"{whole['step']}: {prompt}" for prompt in columns["prompts"]],
        "index": [item % 4 for item in items],
        "request_id": f"{whole['step']}/{part}",
    }
    return {**whole, **columns, **names, "embeddings": vectors}


def written(run: str, number: int) -> Round:
    """Eight texts for two prompts, one of them a chat: right, wrong, and such as a guard rejects."""
    first, second = np.random.default_rng([number, 7]).integers(2, 30, size=2).tolist()
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"What is {first} times {second}?"}]
    completions = [
        f"We multiply {first} by {second}. That makes {first * second}.",
        f"{first} times {second} is {first * second + number + 1}, as one sees at once.",
        "I do not know. " * 12,
        f"The answer to the question is the product, so {first * second}.",
        f"{first} and {second} add up to {first + second}.",
        f"Adding {second} to {first} gives {first + second + 1}, I think.",
        f"Add {first} and {second}. Add {first} and {second}.",
        f"First {first}, then {second} more: {first + second} in the end.",
    ]
    return [
        {
            **{"run_id": run, "request_id": f"request {number}", "step": number, "completions": completions},
            "prompts": [chat] * 4 + [f"Add {first} and {second}."] * 4,
            "outcomes": [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0],
            "truncated": [False] * 7 + [bool(number % 2)],
        }
    ]


def large(run: str, number: int) -> Round:
    """64 completions whose embeddings take much room in a journal, but little in a compressed file."""
    rng = np.random.default_rng(number)
    prompts = [one for one in rng.integers(9, size=16).tolist() for _ in range(4)]
    completions = rng.integers(2, size=(64, 32))
    completions[:, 0] = 1
    return [
        {
            **{"run_id": run, "request_id": f"request {number}", "step": number, "completions": ["long"] * 64},
            "prompts": [f"prompt {one}" for one in prompts],
            "outcomes": rng.integers(2, size=64).astype(float).tolist(),
            "embeddings": {
                "prompts": np.stack([np.random.default_rng(one).integers(1, 4, size=32) for one in prompts]).tolist(),
                "completions": completions.tolist(),
            },
        }
    ]


@dataclass
class Kind:
    """A run: its config, and the rounds of requests it gets before the fixtures are written."""

    config: dict[str, Any]
    make: Callable[[str, int], Round]
    rounds: int = 8
    first: int | None = None
    """How many of them come before the service is started again; None: all."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The service's settings until then."""


SNAPSHOTS: dict[str, Any] = {"snapshot_bytes": 1 << 16}
"""So that a service that closes leaves a snapshot of a run whose journal has 4 KiB."""
RUNS = {
    "plain": Kind({**PAPER, "k": 3}, alone),
    "stepless": Kind({**PAPER, "order": "read_first", "center": "group"}, stepless),
    "guarded": Kind({"preset": "guarded", "explore_warmup_steps": 2}, written, first=5, settings=SNAPSHOTS),
    "texts": Kind({**PAPER, "k": 2, "scaling": "request"}, written, rounds=4),
    "curated": Kind({**PAPER, "k": 3, "memory": CURATED}, alone, rounds=14, first=9, settings=SNAPSHOTS),
    "half": Kind({**PAPER, "k": 2, "storage": "float16", "memory": MERGED}, alone, first=5, settings=SNAPSHOTS),
    "components": Kind({**PAPER, "k": 2, "components": MANY}, answered, first=5, settings=SNAPSHOTS),
    "official": Kind(OFFICIAL, alone),
    "step": Kind({**PAPER, **PATIENT, "barrier": "step"}, parts, rounds=4),
    "group": Kind({**PAPER, **PATIENT, "barrier": "group"}, halves, rounds=4),
    "rolling": Kind({**PAPER, **PATIENT, "k": 2, "barrier": "snapshot"}, half, rounds=9, first=5, settings=SNAPSHOTS),
    "bounded": Kind({**PAPER, "k": 2}, large, rounds=24, settings={**SNAPSHOTS, "journal_bytes": 1}),
    "empty": Kind({**PAPER, "k": 3}, alone, rounds=0),
}
MIDDLE, END = 4, 8
"""Positions of the checkpoints of "plain"."""


def fill(url: str) -> dict[str, list[Body]]:
    """Write all runs into a store; for each the requests that its own history answers."""
    known: dict[str, list[Body]] = {}
    for name, kind in RUNS.items():
        with asked(url, **kind.settings) as client:
            client.put(f"/runs/{name}", json=kind.config).raise_for_status()
            known[name] = _sent(client, name, range(kind.rounds)[: kind.first])
        if kind.first is not None:
            with asked(url) as client:
                known[name] += _sent(client, name, range(kind.first, kind.rounds))
    with asked(url) as client:
        _post(client, "plain/checkpoints", name="end")
        _post(client, "plain/restore", checkpoint="middle")
        known["plain"][MIDDLE:] = alone("plain", END)
        rewards(client, alone("plain", END))
        _post(client, "plain/fork", run_id="fork", checkpoint="end")
        known["fork"] = [{**embedded("plain", number), "run_id": "fork"} for number in range(END)]
    return known


def told(url: str, known: dict[str, list[Body]]) -> dict[str, dict[str, Any]]:
    """What a store's runs are, and what the requests known to them are answered again."""
    with asked(url) as client:
        return {
            name: {
                "info": client.get(f"/runs/{name}", params={"digest": 1}).raise_for_status().json(),
                "checkpoints": client.get(f"/runs/{name}/checkpoints").raise_for_status().json()["checkpoints"],
                "history": client.get(f"/runs/{name}/history").raise_for_status().json(),
                "given": [_exchange(body, rewards(client, [body])[0], replayed=True) for body in bodies],
            }
            for name, bodies in known.items()
        }


def went_on(url: str, names: list[str]) -> dict[str, list[list[dict[str, Any]]]]:
    """What the next three rounds of requests of each run are answered. "plain" repeats an id of a branch it left."""
    with asked(url) as client:
        found: dict[str, list[list[dict[str, Any]]]] = {}
        for name in names:
            kind = RUNS.get(name, RUNS["plain"])
            numbers = (MIDDLE, END + 1, END + 2) if name == "plain" else range(kind.rounds, kind.rounds + 3)
            found[name] = []
            for number in numbers:
                bodies = kind.make(name, number)
                responses = rewards(client, bodies)
                found[name].append([_exchange(*one, replayed=False) for one in zip(bodies, responses, strict=True)])
        return found


def _sent(client: httpx.Client, name: str, numbers: range) -> list[Body]:
    sent = []
    for number in numbers:
        if (name, number) == ("plain", MIDDLE):
            _post(client, "plain/checkpoints", name="middle", step=MIDDLE - 1)
        bodies = RUNS[name].make(name, number)
        rewards(client, bodies)
        sent += bodies
    return sent


def _post(client: httpx.Client, route: str, **body: Any) -> None:
    client.post(f"/runs/{route}", json=body).raise_for_status()


def _exchange(body: Body, response: httpx.Response, *, replayed: bool) -> dict[str, Any]:
    assert ("Idempotency-Replayed" in response.headers) == replayed
    return {"request": body, "response": response.text}


def write(folder: Path) -> None:
    """Write the fixtures into a folder."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        data, url = Path(place, "data"), f"sqlite:///{place}/data"
        known = fill(url)
        expected = {"sqlite": told(url, known)}
        with asked(url) as client:
            for name in EXPORTED:
                exported = client.get(f"/runs/{name}/export").raise_for_status().content
                (folder / f"{name}.memr.xz").write_bytes(lzma.compress(exported))
        with tarfile.open(folder / "data.tar.xz", "w:xz") as archive:
            archive.add(data, "data")
        shutil.copytree(data, Path(place, "copy"))
        for name, rounds in went_on(f"sqlite:///{place}/copy", list(known)).items():
            expected["sqlite"][name]["next"] = rounds
    with RedisServer() as server:
        known = fill(server.url)
        expected["redis"] = told(server.url, known)
        with server.client() as client:
            (folder / "redis.msgpack.xz").write_bytes(lzma.compress(dump(client)))
        for name, rounds in went_on(server.url, list(known)).items():
            expected["redis"][name]["next"] = rounds
    (folder / "expected.json.xz").write_bytes(lzma.compress(json.dumps(expected).encode()))


if __name__ == "__main__":
    write(OLD)
