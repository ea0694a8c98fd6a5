"""A service in the test's own event loop, whose encoder can be held, and requests for it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from memr_client.errors import Unavailable
from memr_client.schemas import RewardRequest
from memr_service.encoder import Encoded, Encoder, Encoders, HashedEncoder
from memr_service.engine.service import Service
from memr_service.settings import Settings
from memr_service.store import open_store

D = 16


class Gate(HashedEncoder):
    """An encoder that can be held, and told to fail or to find texts too long."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.began = threading.Event()
        self.calls: list[list[str]] = []
        self.error: Exception | None = None
        self.truncates = 0

    def encode(self, texts: Sequence[str], precision: str = "float32", long_text: str = "truncate") -> Encoded:
        self.calls.append(list(texts))
        self.began.set()
        assert self.open.wait(30)
        if self.error is not None:
            raise self.error
        return Encoded(super().encode(texts).vectors, np.arange(len(texts)) < self.truncates)


class GatedEncoder(Encoders):
    """Offers that encoder, under a fingerprint that can be changed."""

    def __init__(self) -> None:
        super().__init__(["hashed"])
        self.gate = Gate()
        self.weights = "published"
        self.missing = False

    def load(self, name: str) -> Encoder:
        return self.gate

    def fingerprint(self, name: str, precision: str, long_text: str) -> dict[str, Any]:
        if self.missing:
            raise Unavailable("there is no model", remedy="install it")
        return {**super().fingerprint(name, precision, long_text), "weights": self.weights}


@asynccontextmanager
async def serving(store: str = "memory:", encoders: Encoders | None = None, **settings: Any) -> AsyncIterator[Service]:
    chosen = Settings(store=store, encoder="hashed", encoders=(), preload=False, **settings)
    service = Service(chosen, open_store(store), encoders)
    try:
        yield service
    finally:
        await service.close()


def story(told: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(told(), 60))


def texts(seed: int = 0, n: int = 4, **fields: Any) -> RewardRequest:
    """A request whose texts the service is to encode."""
    usual: dict[str, Any] = {
        "run_id": "run",
        "prompts": [f"question {seed + item % 2}" for item in range(n)],
        "completions": [f"answer {seed} {item}" for item in range(n)],
        "outcomes": [float(item % 2) for item in range(n)],
    }
    return RewardRequest(**{**usual, **fields})


def rows(seed: int = 0, n: int = 4, d: int = D, **fields: Any) -> RewardRequest:
    """The same with embeddings sent."""
    rng = np.random.default_rng(seed)
    sent = {"prompts": rng.normal(size=(n, d)).tolist(), "completions": rng.normal(size=(n, d)).tolist()}
    return texts(seed, n, **{"embeddings": sent, **fields})


async def ask(service: Service, request: RewardRequest) -> dict[str, Any]:
    """An answer but its clock."""
    fields = json.loads((await service.reward(request)).body)
    del fields["timing_ms"]
    return dict(fields)


async def everything(service: Service) -> list[dict[str, Any]]:
    """All runs with their digests."""
    return [
        (await service.runs.describe(info.run_id, digest=True)).model_dump()
        for info in await service.runs.describe_all()
    ]


async def until_encoding(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.began.wait, 30)
    gate.began.clear()
