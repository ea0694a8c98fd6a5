"""Those who use the server meanwhile, from a process of their own: a trainer, and what probes it."""

from __future__ import annotations

import http.client
import itertools
import math
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import numpy as np
from memr_client import RewardClient
from memr_client.errors import MemrError

ITEMS = 8
"""Completions of a request of the trainer, in two groups."""
TRAINER_PAUSE_S, PROBE_PAUSE_S = 0.02, 0.02
PATIENCE_S = 30.0
"""Seconds after which the trainer and the probes give up a request."""


@dataclass
class Seen:
    """What the bystanders have seen since the last time, in milliseconds."""

    rewards: list[float] = field(default_factory=list)
    unanswered: int = 0
    """Requests of the trainer without all their rewards."""
    probes: list[float] = field(default_factory=list)
    failed: int = 0
    """Probes with another status than 200, or none."""

    @property
    def p99(self) -> float:
        """The trainer's 99th percentile; infinite if nothing was answered."""
        return float(np.quantile(self.rewards, 0.99)) if self.rewards else math.inf

    @property
    def worst_probe(self) -> float:
        """The slowest probe; infinite if there was none."""
        return max(self.probes, default=math.inf)


class Bystanders:
    """The process of the bystanders, seen from outside."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def seen(self) -> Seen:
        """What they have seen since the last call. What they are waiting for is waited for."""
        self._pipe.send("seen")
        seen: Seen = self._pipe.recv()
        return seen


@contextmanager
def bystanders(url: str) -> Iterator[Bystanders]:
    """Train and probe until the end of the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(url, theirs), daemon=True)
    process.start()
    try:
        made = Bystanders(ours)
        made.seen()
        yield made
    finally:
        process.terminate()
        process.join()


def work(url: str, pipe: Connection) -> None:
    """The process: a thread for each of the two, and answers to `Bystanders.seen`."""
    seen, turn = [Seen()], (threading.Lock(), threading.Lock())
    threading.Thread(target=train, args=(url, seen, turn[0]), daemon=True).start()
    threading.Thread(target=probe, args=(url, seen, turn[1]), daemon=True).start()
    while pipe.recv():
        with turn[0], turn[1]:
            pipe.send(seen[0])
            seen[0] = Seen()


def train(url: str, seen: list[Seen], turn: threading.Lock) -> None:
    """Ask for rewards one request after another, as a trainer does."""
    with RewardClient(url, run="trainer", timeout=PATIENCE_S) as client:
        for step in itertools.count():
            prompts = [f"What is {step % 50} + {group}?" for group in range(2) for _ in range(ITEMS // 2)]
            completions = [f"{step % 50} and {item} is {step % 50 + item}" for item in range(ITEMS)]
            with turn:
                began = time.perf_counter()
                try:
                    rewards = client.reward(
                        prompts, completions, [float(item % 3 == 0) for item in range(ITEMS)]
                    ).rewards
                except MemrError:
                    rewards = []
                seen[0].rewards.append(1e3 * (time.perf_counter() - began))
                seen[0].unanswered += len(rewards) != ITEMS or not all(map(math.isfinite, rewards))
            time.sleep(TRAINER_PAUSE_S)


def probe(url: str, seen: list[Seen], turn: threading.Lock) -> None:
    """Probe as an orchestrator does: over a new connection each time."""
    address = urlsplit(url)
    for path in itertools.cycle(("/livez", "/readyz")):
        with turn:
            began = time.perf_counter()
            connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=PATIENCE_S)
            try:
                connection.request("GET", path)
                ok = connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                ok = False
            finally:
                connection.close()
            seen[0].probes.append(1e3 * (time.perf_counter() - began))
            seen[0].failed += not ok
        time.sleep(PROBE_PAUSE_S)
