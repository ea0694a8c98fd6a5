"""Runs that an earlier memr wrote (tests/data/old), and a service over them in this process, asked over HTTP.

Only public names are used here, so that `write_old_fixtures.py` works with the earlier version as well.
"""

from __future__ import annotations

import json
import lzma
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from memr_client.embedded import EmbeddedTransport

OLD = Path(__file__).resolve().parent.parent / "data" / "old"
FOR_EVER: dict[str, Any] = {"answer_hours": 1e6, "text_max_age_days": 1e5}
"""Settings under which nothing that was written years ago is too old."""


@contextmanager
def asked(url: str, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a service over the store at `url`, with the encoder that needs no model; it is closed at the end."""
    transport = EmbeddedTransport(url, encoder="hashed", **{**FOR_EVER, **settings})
    with httpx.Client(transport=transport, base_url="http://memr", timeout=60) as client:
        yield client


def rewards(client: httpx.Client, bodies: Sequence[dict[str, Any]]) -> list[httpx.Response]:
    """The responses to requests that are sent together: those of one step, or of one group, wait for each other."""
    with ThreadPoolExecutor(len(bodies)) as pool:
        responses = list(pool.map(lambda body: client.post("/reward", json=body), bodies))
    for response in responses:
        assert response.status_code == 200, response.text
    return responses


def untimed(response: str) -> str:
    """The bytes of a response but for `timing_ms`, which comes last."""
    return response[: response.rindex(',"timing_ms":')]


def expected() -> dict[str, Any]:
    """What the earlier memr said of each run, by store ("sqlite", "redis") and name.

    info         GET /runs/{id}?digest=1
    checkpoints  GET /runs/{id}/checkpoints
    history      GET /runs/{id}/history
    given        [{request, response}]: requests that the run has taken, and the stored responses as text
    next         [[{request, response}]]: how the earlier memr went on; the requests of an inner list were sent together
    """
    found: dict[str, Any] = json.loads(lzma.decompress((OLD / "expected.json.xz").read_bytes()))
    return found


def unpack(into: Path) -> Path:
    """The data folder that it left."""
    with tarfile.open(OLD / "data.tar.xz") as archive:
        archive.extractall(into, filter="data")
    return into / "data"


def redis_dump() -> bytes:
    """What it left in a Redis, for `redis_dump.load`."""
    return lzma.decompress((OLD / "redis.msgpack.xz").read_bytes())
