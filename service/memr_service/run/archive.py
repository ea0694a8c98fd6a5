"""A whole run as one file: a header, its records in order, and a last frame that marks the end.

Each frame is its length (4 bytes, little-endian), its CRC-32 (4 bytes) and its bytes. Records are the journal's own,
so an imported run has the same chain, digest and request ids as the one it was exported from.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, BinaryIO

import numpy as np
import orjson
from memr_client.errors import Conflict, InvalidRequest, MalformedBody, ProblemError
from memr_client.schemas import Component, RunConfig
from pydantic import ValidationError

from memr_service.state import record_check
from memr_service.state.codec import unseal
from memr_service.state.law import LAW, LAWS
from memr_service.state.record import GENESIS, Record
from memr_service.state.state import State
from memr_service.store.base import Snapshot, StoredRecord, StoredRun

MAGIC = b"memr run 1\n"
FRAME = struct.Struct("<II")
LARGEST = 1 << 31
NO_RUN = "it does not begin like one"


@dataclass(frozen=True)
class Header:
    """What a run was created with."""

    law: int
    config: str
    encoder: str | None
    created_at: str
    base: int = 0
    """The position after which the records begin. If it is not 0, a snapshot of that position comes before them."""


def write(run: StoredRun, records: Iterable[StoredRecord], base: Snapshot | None = None) -> Iterator[bytes]:
    """The file, piece by piece.

    Args:
        base: the state that the records follow, if they do not begin at 1.
    """
    header = {"law": run.law, "config": run.config, "encoder": run.encoder, "created_at": run.created_at}
    yield MAGIC + _frame(orjson.dumps({**header, "base": base.position if base else 0}))
    count = 0
    if base is not None:
        yield _frame(orjson.dumps({"arrays": list(base.arrays)}))
        for array in base.arrays.values():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            yield _frame(buffer.getvalue())
    for record in records:
        count += 1
        yield _frame(record.payload)
    yield _frame(orjson.dumps({"records": count}))


SNAPSHOT_FROM = 1 << 20
"""Bytes of records from which on it is worth to keep the state that they make."""


def verify(file: BinaryIO) -> Snapshot | None:
    """Read a whole file and make the run's state of it.

    Returns:
        The state, if it makes opening the run quicker: there are many records, and no graphs, which are built then.

    Raises:
        MalformedBody: it does not hold a run that can be opened. Conflict, InvalidRequest: see `read_header`.
    """
    header = read_header(file)
    base = read_base(file, header)
    state = State(RunConfig.model_validate_json(header.config), law=header.law)
    components: set[str] = {*state.config.components}
    try:
        with state.indexes.deferred(use=False):
            if base is not None:
                state.restore(base.branch, base.position, base.arrays)
                if state.answers is not None:
                    state.answers.check()
            size, graphs = 0, base is not None and _has_graphs(base)
            for record, payload in read_records(file, base):
                size, graphs = size + len(payload), graphs or bool(record.effects.index_changes)
                record_check.check(record, components)
                if record.batch.dimension != (state.dimension or record.batch.dimension):
                    raise ValueError("its embeddings have another dimension")
                if record.first_serial < state.serial:
                    raise ValueError("its completions are numbered like earlier ones")
                state.apply(record)
        frozen = state.freeze()
    except ProblemError:
        raise
    except Exception as error:
        raise damaged(f"what follows record {state.position} cannot be applied: {_reason(error)}") from error
    return None if graphs or size < SNAPSHOT_FROM else Snapshot(0, state.position, frozen)


def _has_graphs(base: Snapshot) -> bool:
    return any(name.endswith("/graphs") and len(array) > 0 for name, array in base.arrays.items())


def _reason(error: Exception) -> str:
    return str(error) if type(error) is ValueError else type(error).__name__


def check_beginning(begins: bytes) -> None:
    """Raise `MalformedBody` unless a file that begins like this can be a run. It may be shorter than MAGIC."""
    if not MAGIC.startswith(begins):
        raise damaged(NO_RUN)


def read_header(file: BinaryIO) -> Header:
    """The first frame.

    Raises:
        MalformedBody: the file is not a run. Conflict: the run's law is not known here. InvalidRequest: its
            config is not.
    """
    if (begins := file.read(len(MAGIC))) != MAGIC:
        raise damaged("it ends too early" if MAGIC.startswith(begins) else NO_RUN)
    fields = _json(_next_frame(file))
    law = fields.get("law")
    if type(law) is not int or law not in LAWS:
        raise Conflict(
            f"The file holds a run of law {law}, this server follows laws up to {LAW}.",
            value=law,
            limit=[*LAWS],
            remedy="Import it with the release it was exported by.",
        )
    try:
        config = RunConfig.model_validate_json(fields["config"])
        header = Header(law, fields["config"], fields["encoder"], fields["created_at"], fields["base"])
    except (KeyError, TypeError, ValidationError) as error:
        raise InvalidRequest(
            "The file's config is not one this server knows.", remedy="Use the release that wrote it."
        ) from error
    _check(header, config)
    return header


def _check(header: Header, config: RunConfig) -> None:
    """Raise `MalformedBody` unless the header says what `write` can have written."""
    if config.encoder is None or not all(isinstance(one, Component) for one in config.components.values()):
        raise damaged("its config is not resolved")
    if type(header.base) is not int or header.base < 0:
        raise damaged("its base is no position")
    try:
        datetime.fromisoformat(header.created_at)
        encoder = None if header.encoder is None else orjson.loads(header.encoder)
    except (TypeError, ValueError) as error:
        raise damaged("its header cannot be read") from error
    if encoder is not None and not (isinstance(encoder, dict) and {"model", "precision"} <= encoder.keys()):
        raise damaged("its encoder's fingerprint is incomplete")


def read_base(file: BinaryIO, header: Header) -> Snapshot | None:
    """The state that the records follow, on branch 0; None if they begin at 1.

    Raises:
        MalformedBody: a frame is damaged or missing.
    """
    if not header.base:
        return None
    try:
        names = _json(_next_frame(file))["arrays"]
        arrays = {name: np.load(io.BytesIO(_next_frame(file)), allow_pickle=False) for name in names}
    except (KeyError, TypeError, ValueError, MemoryError) as error:
        raise damaged("its snapshot cannot be read") from error
    return Snapshot(0, header.base, arrays)


def read_records(file: BinaryIO, base: Snapshot | None = None) -> Iterator[tuple[Record, bytes]]:
    """The records after the header and the base, on branch 0 and in order, each with its bytes.

    Raises:
        MalformedBody: a frame is damaged or missing, or a record does not follow the one before.
    """
    chain, position = (GENESIS, 0) if base is None else (base.arrays["chain"].tobytes(), base.position)
    first = position
    while True:
        payload = _next_frame(file)
        if payload[:1] == b"{":
            break
        try:
            record = unseal(payload)
        except ValueError as error:
            raise damaged(str(error)) from error
        position += 1
        if (record.parent, record.position) != (chain, position):
            raise damaged(f"record {record.position} does not follow record {position - 1}")
        chain = record.chain
        yield replace(record, branch=0), payload
    if _json(payload).get("records") != position - first or file.read(1):
        raise damaged(f"it ends after {position - first} records")


def _frame(data: bytes) -> bytes:
    return FRAME.pack(len(data), zlib.crc32(data)) + data


def _next_frame(file: BinaryIO) -> bytes:
    head = file.read(FRAME.size)
    if len(head) < FRAME.size:
        raise damaged("it ends too early")
    length, crc = FRAME.unpack(head)
    data = file.read(length) if length < LARGEST else b""
    if len(data) < length or zlib.crc32(data) != crc:
        raise damaged("a frame does not match its checksum")
    return data


def _json(data: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise damaged("a header is not JSON") from error
    if not isinstance(fields, dict):
        raise damaged("a header is not an object")
    return fields


def damaged(why: str) -> MalformedBody:
    """The refusal of a file that is not a whole run."""
    return MalformedBody(f"This is not a whole run file: {why}.", remedy="Export the run again.")
