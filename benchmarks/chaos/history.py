"""Compares the history after a scene with the acknowledged requests and with a sequential replay of the log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from memr_client import RewardClient, RewardResponse
from memr_client.errors import Unavailable
from memr_service.state.codec import unseal
from memr_service.state.record import Record
from memr_service.store import open_store
from memr_service.store.capabilities import Store
from memr_service.store.lineage import lineage

from benchmarks.chaos.writers import CONFIG, RUNS, Writer, batch

Answers = dict[str, RewardResponse]
"""Request id -> acknowledged response."""


@dataclass
class Findings:
    """A scene's counts. All except `acknowledged` must be 0, and as many rewinds must be detected as were caused."""

    acknowledged: int = 0
    lost: int = 0
    """Acknowledged requests that are not in the log."""
    doubled: int = 0
    """Requests that are in the log more than once."""
    replay_mismatches: int = 0
    """Responses that the replay of the log does not reproduce."""
    replica_digest_mismatches: int = 0
    """Replicas whose state of a run differs from the replay's."""
    rewinds_caused: int = 0
    """States in a replica's memory with records that the store had lost."""
    rewinds_detected: int = 0
    """Such states that replicas detected."""
    verify_failures: int = 0
    """Runs whose `memr verify` did not exit with 0."""

    def __add__(self, other: Findings) -> Findings:
        return Findings(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


def check(url: str, writers: Sequence[Writer], replicas: Sequence[str]) -> Findings:
    """Compare the acknowledged requests with the store and with each replica, which is given by its address."""
    found = Findings(acknowledged=sum(len(writer.acknowledged) for writer in writers))
    store = reached(url)
    try:
        for run_id in RUNS:
            own = [writer for writer in writers if writer.run_id == run_id]
            answers = {f"{one.number}-{at}": answer for one in own for at, answer in enumerate(one.acknowledged)}
            found += _check_run(run_id, _records(store, run_id), answers, replicas)
    finally:
        store.close()
    return found


def reached(url: str) -> Store:
    """Open the store at an address, and wait until it has recovered."""
    ends = time.monotonic() + 60
    while True:
        try:
            return open_store(url)
        except Unavailable:
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)


def _records(store: Store, run_id: str) -> list[Record]:
    run = store.runs.find(run_id)
    assert run is not None
    return [
        unseal(stored.payload) for stored in store.journal.records(run.uid, lineage(store.journal.branches(run.uid)))
    ]


def _check_run(run_id: str, records: Sequence[Record], answers: Answers, replicas: Sequence[str]) -> Findings:
    logged = Counter(str(seat.request_id) for record in records for seat in record.seats)
    found = Findings(lost=len(answers.keys() - logged.keys()), doubled=sum(logged.values()) - len(logged))
    with RewardClient.embedded(run=run_id, encoder="hashed") as alone:
        alone.create_run(config=CONFIG)
        for record in records:
            expected = alone.reward(**_whole(record))
            for seat in record.seats:
                if (answer := answers.get(str(seat.request_id))) is not None:
                    found.replay_mismatches += not _same(answer, expected, seat.items)
        digest = alone.run(digest=True).digest
    for replica in replicas:
        with RewardClient(replica, run=run_id) as client:
            found.replica_digest_mismatches += client.run(digest=True).digest != digest
    return found


def _whole(record: Record) -> dict[str, Any]:
    """The single request that equals the requests in a record's seats."""
    parts = [batch(*map(int, str(seat.request_id).split("-"))) for seat in record.seats]
    columns = {name: [one for part in parts for one in part[name]] for name in ("prompts", "completions", "outcomes")}
    sent = {side: np.concatenate([part["embeddings"][side] for part in parts]) for side in ("prompts", "completions")}
    return {**columns, "embeddings": sent, "step": parts[0]["step"]}


def _same(answer: RewardResponse, expected: RewardResponse, items: np.ndarray | None) -> bool:
    """Whether a response equals the replay's bit for bit; under a barrier, for the items of its request."""
    if items is None:
        items = np.arange(len(expected.rewards))
    same = (answer.position, answer.chain) == (expected.position, expected.chain)
    same &= answer.rewards == [expected.rewards[item] for item in items]
    for name, component in expected.components.items():
        same &= answer.components[name].raw == [component.raw[item] for item in items]
        same &= answer.components[name].scaled == [component.scaled[item] for item in items]
    return same
