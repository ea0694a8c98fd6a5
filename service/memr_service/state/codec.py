"""How a record becomes bytes, and bytes a record.

The bytes are MessagePack of [beside, inputs, effects]: maps of field names, in which arrays keep their type and shape.
The chain is SHA-256 over the parent's chain, the counters, the inputs and the effects. What does not bear on the state
(branch, request ids, clock, timings) is in `beside`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgpack
import numpy as np

from memr_service.memory import CuratedWrites, Writes
from memr_service.state.record import Batch, Effects, IndexChange, Record, Repairs, Seat

KEY_BYTES = 16
OPTIONAL = (
    *("copied", "foreign", "names_answer", "sent", "late", "equal_spread", "texts", "prompt_ids", "references"),
    *("turns_left", "masked", "prior", "prior_answers", "decisions", "pool", "forget"),
)
"""Columns of a batch that are left out where they are None; the others are written as null."""
INDEX_CHANGES = "index"
"""The name of `Effects.index_changes` in the bytes."""
INDEX = "memory"
"""The name of `IndexChange.index` in the bytes."""

_ARRAY = 1


def seal(record: Record) -> tuple[Record, bytes]:
    """Give a record its chain, and return it with its bytes."""
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
    """Read a record from the bytes that `seal` made.

    Raises:
        ValueError: the bytes are no record, or do not match their chain.
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
        # numpy raises SyntaxError for some damaged names of types.
        raise ValueError(f"not a record: {error!r}") from error


def _chain(beside: dict[str, Any], inputs: bytes, effects: bytes) -> bytes:
    lengths = [len(inputs), len(effects)]
    chain = hashlib.sha256(_pack([beside["parent"], beside["position"], beside["serial"], *lengths]))
    chain.update(inputs)
    chain.update(effects)
    return chain.digest()


def _batch_fields(batch: Batch) -> dict[str, Any]:
    fields = {**vars(batch), "keys": b"".join(batch.keys)}
    return {name: value for name, value in fields.items() if value is not None or name not in OPTIONAL}


def _batch(fields: dict[str, Any]) -> Batch:
    keys = fields["keys"]
    return Batch(**{**fields, "keys": [keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)]})


def _effects_fields(effects: Effects) -> dict[str, Any]:
    fields = {**vars(effects), "success": vars(effects.success), "failure": vars(effects.failure)}
    fields["index_changes"] = [_renamed(vars(change), "index", INDEX) for change in effects.index_changes]
    if effects.baseline is None:
        del fields["baseline"]
    if effects.repair is None:
        del fields["repair"]
    else:
        fields["repair"] = vars(effects.repair)
    return _renamed(fields, "index_changes", INDEX_CHANGES)


def _effects(fields: dict[str, Any]) -> Effects:
    fields = _renamed(fields, INDEX_CHANGES, "index_changes")
    return Effects(
        **{
            **fields,
            "success": _writes(fields["success"]),
            "failure": _writes(fields["failure"]),
            "index_changes": [IndexChange(**_renamed(one, INDEX, "index")) for one in fields["index_changes"]],
            "repair": Repairs(**fields["repair"]) if "repair" in fields else None,
        }
    )


def _writes(fields: dict[str, Any]) -> Writes:
    return CuratedWrites(**fields) if "step" in fields else Writes(**fields)


def _renamed(fields: dict[str, Any], name: str, to: str) -> dict[str, Any]:
    """The fields in their order, one of them under another name."""
    return {to if one == name else one: value for one, value in fields.items()}


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
    """What precedes an array's numbers. It is cached, because most records have columns of the same few shapes."""
    return bytes(msgpack.packb([dtype, list(shape)]))


def _extension_to_array(code: int, data: bytes) -> np.ndarray:
    if code != _ARRAY:
        raise TypeError(f"unknown extension {code}")
    unpacker = msgpack.Unpacker()
    unpacker.feed(data[:64])
    dtype, shape = unpacker.unpack()
    return np.frombuffer(data, dtype, offset=unpacker.tell()).reshape(shape)
