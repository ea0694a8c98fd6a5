"""A record: one accepted logical request with its inputs and its effects, and how both become bytes.

state = fold(apply, records) uses the effects; a replay uses the inputs. The chain is SHA-256 over the parent's chain,
the counters, the inputs and the effects; what does not bear on the state (branch, request ids, clock, timings) is
beside them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import msgpack
import numpy as np

from memr_service.memory import CuratedWrites, Writes

GENESIS = bytes(32)
"""The chain of a run without records."""
SELDOM = ("copied", "foreign", "names_answer", "sent")
"""Columns of a batch that records have only where they are needed; of the others an absent one is written as such."""


@dataclass(frozen=True)
class Batch:
    """The inputs of a logical request of n items, as they are scored.

    `keys` (n): identity of each item's prompt. `prompts` (u, d): the distinct prompt embeddings, `prompt_of` (n,) says
    whose is whose. `completions` (n, d). `outcomes` (n,). `group` (n,): number of each item's group within the batch.
    """

    keys: list[bytes]
    prompts: np.ndarray
    prompt_of: np.ndarray
    completions: np.ndarray
    outcomes: np.ndarray
    group: np.ndarray
    lengths: np.ndarray
    """Characters of each completion's encoded text (n)."""
    step: int | None = None
    group_names: list[bytes] = field(default_factory=list)
    """The groups' ids, by number."""
    answers: list[str | None] | None = None
    labels: list[str | None] | None = None
    truncated: np.ndarray | None = None
    repeated: np.ndarray | None = None
    """Share of each completion that repeats what was said earlier in it (n), where a guard needs to know."""
    copied: np.ndarray | None = None
    """Share of each completion that stands in its prompt (n), where a guard needs to know."""
    foreign: np.ndarray | None = None
    """Longest stretch of each that its prompt and siblings know nothing of, in bytes (n), where a guard needs it."""
    names_answer: np.ndarray | None = None
    """Whether each completion names an answer of its own (n) bool, where a guard needs to know."""
    sent: np.ndarray | None = None
    """Whether each item's embeddings were sent by the caller (n) bool, where a guard needs to know; None: none were."""

    @classmethod
    def of_nothing(cls, dimension: int) -> Batch:
        """A batch without items."""
        none, no_rows = np.empty(0, "<i4"), np.empty((0, dimension), np.float32)
        return cls([], no_rows, none, no_rows, np.empty(0), none, none)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def prompt_rows(self) -> list[np.ndarray]:
        """The embedding of each item's prompt (n), none of them copied."""
        rows = [*self.prompts]
        return [rows[place] for place in self.prompt_of.tolist()]

    @property
    def dimension(self) -> int:
        """d."""
        return int(self.completions.shape[1])


@dataclass(frozen=True)
class IndexChange:
    """A graph over the numbers [start, stop) of an index was begun from, or taken into use at, this record."""

    memory: str
    """The index: a memory's name for its prompts, NAME-completions for its completions."""
    change: str
    """"build" or "swap"."""
    start: int
    stop: int


@dataclass(frozen=True)
class Effects:
    """What a record did. Columns of n items; raw values are NaN where null."""

    success: Writes
    failure: Writes
    raw: dict[str, np.ndarray]
    scaled: dict[str, np.ndarray]
    rewards: np.ndarray
    support: dict[str, np.ndarray]
    warmup: dict[str, int]
    sizes: dict[str, list[int]]
    """Memory -> [prompts, completions] after this record."""
    rejected: list[list[str]] = field(default_factory=list)
    """For each item "component:reason" of what its guards rejected; empty where nothing was rejected at all."""
    warnings: list[str] = field(default_factory=list)
    index: list[IndexChange] = field(default_factory=list)
    closes: list[bytes] = field(default_factory=list)
    """Groups under the `snapshot` barrier whose items are written here. `Writes.item` counts the batch's own items
    first, then those that earlier records left open, in the order of this list."""
    left_open: np.ndarray | None = None
    """Items of the batch that wait to be written with the rest of their group."""


@dataclass(frozen=True)
class Seat:
    """One request's part in a record: its id, the digest of its body, and which items are its own (None: all)."""

    request_id: str | None = None
    body_digest: bytes = b""
    items: np.ndarray | None = None


@dataclass(frozen=True)
class Record:
    """One step of a run's history."""

    branch: int
    position: int
    batch: Batch
    effects: Effects
    first_serial: int
    """Serial number of item 0; serials count all completions a run ever took."""
    parent: bytes
    chain: bytes = b""
    seats: list[Seat] = field(default_factory=list)
    """The requests it answered."""
    at: float = 0.0
    """Unix time of the commit."""
    timing_ms: dict[str, float] = field(default_factory=dict)

    @property
    def where(self) -> tuple[int, int]:
        """Branch and position."""
        return self.branch, self.position


def seal(record: Record) -> tuple[Record, bytes]:
    """The record with its chain, and its bytes."""
    inputs, effects = _pack(_batch_fields(record.batch)), _pack(_effects_fields(record.effects))
    beside = {
        "branch": record.branch,
        "position": record.position,
        "serial": record.first_serial,
        "parent": record.parent,
        "seats": [vars(seat) for seat in record.seats],
        "at": record.at,
        "timing": record.timing_ms,
    }
    beside["chain"] = chain = _chain(beside, inputs, effects)
    return replace(record, chain=chain), _pack([beside, inputs, effects])


def unseal(payload: bytes) -> Record:
    """The record behind `seal`'s bytes.

    Raises:
        ValueError: the bytes are no record, or their chain is not the one they name.
    """
    try:
        beside, inputs, effects = _unpack(payload)
        if _chain(beside, inputs, effects) != beside["chain"]:
            raise ValueError(f"record {beside['position']} does not match its chain")
        return Record(
            branch=beside["branch"],
            position=beside["position"],
            batch=_batch(_unpack(inputs)),
            effects=_effects(_unpack(effects)),
            first_serial=beside["serial"],
            parent=beside["parent"],
            chain=beside["chain"],
            seats=[Seat(**seat) for seat in beside["seats"]],
            at=beside["at"],
            timing_ms=beside["timing"],
        )
    except (KeyError, TypeError, OverflowError, SyntaxError, msgpack.exceptions.UnpackException) as error:
        # SyntaxError is what numpy makes of some damaged names of types.
        raise ValueError(f"not a record: {error!r}") from error


def _chain(beside: dict[str, Any], inputs: bytes, effects: bytes) -> bytes:
    lengths = [len(inputs), len(effects)]
    link = hashlib.sha256(_pack([beside["parent"], beside["position"], beside["serial"], *lengths]))
    link.update(inputs)
    link.update(effects)
    return link.digest()


def _batch_fields(batch: Batch) -> dict[str, Any]:
    fields = {**vars(batch), "keys": b"".join(batch.keys)}
    return {name: value for name, value in fields.items() if value is not None or name not in SELDOM}


def _batch(fields: dict[str, Any]) -> Batch:
    keys, size = fields["keys"], 16
    return Batch(**{**fields, "keys": [keys[at : at + size] for at in range(0, len(keys), size)]})


def _effects_fields(effects: Effects) -> dict[str, Any]:
    return {
        **vars(effects),
        "success": vars(effects.success),
        "failure": vars(effects.failure),
        "index": [vars(change) for change in effects.index],
    }


def _effects(fields: dict[str, Any]) -> Effects:
    return Effects(
        **{
            **fields,
            "success": _writes(fields["success"]),
            "failure": _writes(fields["failure"]),
            "index": [IndexChange(**change) for change in fields["index"]],
        }
    )


def _writes(fields: dict[str, Any]) -> Writes:
    return CuratedWrites(**fields) if "step" in fields else Writes(**fields)


_ARRAY = 1


def _pack(value: Any) -> bytes:
    return bytes(msgpack.packb(value, default=_array_to_extension))


def _unpack(payload: bytes) -> Any:
    return msgpack.unpackb(payload, ext_hook=_extension_to_array, strict_map_key=False)


def _array_to_extension(value: Any) -> msgpack.ExtType:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a record cannot hold a {type(value).__name__}")
    little = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).reshape(value.shape)
    return msgpack.ExtType(_ARRAY, b"".join((_head(little.dtype.str, value.shape), little.data)))


@lru_cache
def _head(dtype: str, shape: tuple[int, ...]) -> bytes:
    """What stands before an array's numbers: most records have columns of the same few shapes."""
    return bytes(msgpack.packb([dtype, list(shape)]))


def _extension_to_array(code: int, data: bytes) -> np.ndarray:
    if code != _ARRAY:
        raise TypeError(f"unknown extension {code}")
    unpacker = msgpack.Unpacker()
    unpacker.feed(data[:64])
    dtype, shape = unpacker.unpack()
    return np.frombuffer(data, dtype, offset=unpacker.tell()).reshape(shape)
