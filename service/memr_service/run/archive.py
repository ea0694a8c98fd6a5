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
from typing import Any, BinaryIO

import numpy as np
import orjson
from memr_client.errors import Conflict, InvalidRequest, MalformedBody
from memr_client.schemas import RunConfig
from pydantic import ValidationError

from memr_service.run.presets import LAW, LAWS
from memr_service.state.codec import unseal
from memr_service.state.record import GENESIS, Record
from memr_service.store.base import Snapshot, StoredRecord, StoredRun

MAGIC = b"memr run 1\n"
FRAME = struct.Struct("<II")
LARGEST = 1 << 31


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


def read_header(file: BinaryIO) -> Header:
    """The first frame.

    Raises:
        MalformedBody: the file is not a run. Conflict: the run's law is not known here. InvalidRequest: its
            config is not.
    """
    if file.read(len(MAGIC)) != MAGIC:
        raise _damaged("it does not begin like one")
    fields = _json(_next_frame(file))
    law = fields.get("law")
    if not isinstance(law, int) or law not in LAWS:
        raise Conflict(
            f"The file holds a run of law {law}, this server follows laws up to {LAW}.",
            value=law,
            limit=[*LAWS],
            remedy="Import it with the release it was exported by.",
        )
    try:
        RunConfig.model_validate_json(fields["config"])
        return Header(law, fields["config"], fields["encoder"], fields["created_at"], fields["base"])
    except (KeyError, ValidationError) as error:
        raise InvalidRequest(
            "The file's config is not one this server knows.", remedy="Use the release that wrote it."
        ) from error


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
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged("its snapshot cannot be read") from error
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
            raise _damaged(str(error)) from error
        position += 1
        if (record.parent, record.position) != (chain, position):
            raise _damaged(f"record {record.position} does not follow record {position - 1}")
        chain = record.chain
        yield replace(record, branch=0), payload
    if _json(payload).get("records") != position - first or file.read(1):
        raise _damaged(f"it ends after {position - first} records")


def _frame(data: bytes) -> bytes:
    return FRAME.pack(len(data), zlib.crc32(data)) + data


def _next_frame(file: BinaryIO) -> bytes:
    head = file.read(FRAME.size)
    if len(head) < FRAME.size:
        raise _damaged("it ends too early")
    length, crc = FRAME.unpack(head)
    data = file.read(length) if length < LARGEST else b""
    if len(data) < length or zlib.crc32(data) != crc:
        raise _damaged("a frame does not match its checksum")
    return data


def _json(data: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _damaged("a header is not JSON") from error
    if not isinstance(fields, dict):
        raise _damaged("a header is not an object")
    return fields


def _damaged(why: str) -> MalformedBody:
    return MalformedBody(f"This is not a whole run file: {why}.", remedy="Export the run again.")
