"""What a store keeps, and how it refuses a commit.

A run is a sequence of records. Record `position` p (1, 2, ...) of branch b follows record p - 1 of the same branch; a
branch's first record follows the record after which the branch left its parent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from memr_client.errors import InternalError


@dataclass(frozen=True)
class StoredRun:
    """A run as it was created."""

    uid: int
    """The store's own number for the run. It is never used again, so a deleted run's name can be."""
    run_id: str
    config: str
    """The resolved `RunConfig` as JSON."""
    law: int
    encoder: str | None
    """The encoder's fingerprint as JSON."""
    created_at: str
    """UTC, ISO 8601."""
    base: int = 0
    """Records up to this position were dropped; the snapshot taken there replaces them. 0: the journal is whole."""


@dataclass(frozen=True)
class StoredRecord:
    """One record of a run's journal."""

    branch: int
    position: int
    payload: bytes
    columns: bytes = b""
    """A few columns of the record, which can be read without the payload (`memr_service.run.history`)."""
    parent: bytes = b""
    """The chain of the record before it."""
    chain: bytes = b""
    """The record's own chain: records with equal chains leave equal states. Only a shared store uses it."""


@dataclass(frozen=True)
class NewResponse:
    """The response to a request, to be stored with the record that the request led to."""

    request_id: str
    body_digest: bytes
    """Digest of the request's body."""
    response: bytes


@dataclass(frozen=True)
class StoredResponse:
    """The response to a request id, and the record it was stored with."""

    branch: int
    position: int
    body_digest: bytes
    """Digest of the request's body."""
    response: bytes


@dataclass(frozen=True)
class Branch:
    """A line of a run's history: it left `parent` after record `start` (branch 0 has no parent and starts at 0)."""

    branch: int
    parent: int | None
    start: int


@dataclass(frozen=True)
class StoredCheckpoint:
    """A name for a position of a run's history."""

    name: str
    branch: int
    position: int
    step: int | None
    created_at: str


@dataclass(frozen=True)
class Snapshot:
    """A run's whole state after record (`branch`, `position`), as named arrays."""

    branch: int
    position: int
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Tip:
    """The end of a run's journal in a store that other processes write to."""

    run: StoredRun
    branch: int
    """The current branch."""
    position: int
    chain: bytes
    """The last record's chain; empty where there is no record, or where the branch has no record of its own yet."""


@dataclass(frozen=True)
class Damage:
    """Records that were cut from a journal because the first of them does not match its checksum."""

    run_id: str
    branch: int
    position: int
    """The first record that was cut."""
    records: int
    """How many were cut."""
    reason: str


class Moved(InternalError):
    """A record does not follow its run's last one: another process committed first."""


class AlreadyAnswered(Moved):
    """A record answers a request id that already has a response on this branch."""


def restored(parts: Iterator[StoredRun | None]) -> StoredRun:
    """The run that `Runs.restore` makes, with all its parts done at once."""
    return next(run for run in parts if run is not None)
