"""Eight writers to four runs, each of whose requests goes to a random replica."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from memr_client import RewardClient, RewardResponse, RunConfig
from memr_client.errors import MemrError

D = 32
TRY_S = 4.0
"""Seconds after which a request is sent to another replica."""
CONFIG = RunConfig(preset="memory-r+", explore_warmup_steps=0, max_prompts=8, max_completions=12, window=20, k=2)
RUNS = {"one": CONFIG, "two": CONFIG, "three": CONFIG, "ranks": CONFIG.model_copy(update={"barrier": "step"})}
"""The runs, with two writers each. Those of `ranks` are two ranks, whose parts of a step wait for each other."""


def batch(writer: int, number: int) -> dict[str, Any]:
    """Request `number` of a writer, always the same, with one completion or several."""
    rng = np.random.default_rng([writer, number])
    items = 1 if number % 2 else 16
    prompts = np.repeat(rng.integers(12, size=max(1, items // 8)), min(items, 8))
    return {
        "prompts": [f"prompt {prompt}" for prompt in prompts],
        "completions": [f"{writer} {number} {item}" for item in range(items)],
        "outcomes": rng.integers(2, size=items).astype(float).tolist(),
        "step": number,
        "embeddings": {
            "prompts": np.stack([np.random.default_rng(prompt).normal(size=D) for prompt in prompts]),
            "completions": rng.normal(size=(items, D)),
        },
    }


def request_id(writer: int, number: int) -> str:
    """The request id of a writer's request."""
    return f"{writer}-{number}"


class Office:
    """State that all writers share: when to stop and pause, and the progress of each run."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.stopping = False
        self._begun: dict[str, int] = {}
        self._lock = threading.Lock()

    def begin(self, run: str, number: int) -> bool:
        """Whether a writer may send its request `number`. At the end both writers of a run have sent equally many."""
        with self._lock:
            if self.stopping and number > self._begun.get(run, -1):
                return False
            self._begun[run] = max(number, self._begun.get(run, -1))
            return True


class Writer(threading.Thread):
    """Sends its requests one after another, each until it is acknowledged."""

    def __init__(self, number: int, urls: Sequence[str], office: Office, seed: int) -> None:
        super().__init__(name=f"writer {number}")
        self.number = number
        self.run_id = [*RUNS][number // 2]
        self.acknowledged: list[RewardResponse] = []
        self.refused = 0
        """Number of tries without a response."""
        self.trying = False
        self._office = office
        self._random = random.Random(f"{seed} {number}")
        self._clients = [RewardClient(url, run=self.run_id, timeout=TRY_S, retries=0) for url in urls]

    def run(self) -> None:
        """Send requests until the writers are stopped."""
        while self._office.begin(self.run_id, len(self.acknowledged)):
            self.acknowledged.append(self._send(len(self.acknowledged)))
        for client in self._clients:
            client.close()

    def _send(self, number: int) -> RewardResponse:
        request = batch(self.number, number) | {"request_id": request_id(self.number, number)}
        if RUNS[self.run_id].barrier == "step":
            request |= {"part": self.number % 2, "parts": 2}
        while True:
            self._office.open.wait()
            self.trying = True
            try:
                return self._random.choice(self._clients).reward(**request)
            except MemrError:
                self.refused += 1
            finally:
                self.trying = False
            time.sleep(self._random.uniform(0.02, 0.2))


class Load:
    """The running writers."""

    def __init__(self, urls: Sequence[str], seed: int) -> None:
        self.office = Office()
        self.writers = [Writer(number, urls, self.office, seed) for number in range(2 * len(RUNS))]

    @property
    def acknowledged(self) -> int:
        """Number of acknowledged requests."""
        return sum(len(writer.acknowledged) for writer in self.writers)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A context in which no writer sends."""
        self.office.open.clear()
        while any(writer.trying for writer in self.writers):
            time.sleep(0.01)
        yield
        self.office.open.set()

    def finish(self) -> None:
        """Let all writers finish their current request, and stop them."""
        self.office.stopping = True
        for writer in self.writers:
            writer.join()
