"""Records as bytes and back, and what their chain vouches for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import msgpack
import numpy as np
import pytest
from memr_service.memory import Writes
from memr_service.rewards.score import score
from memr_service.state.codec import seal, unseal
from memr_service.state.record import GENESIS, Batch, Effects, IndexChange, Record, Repairs, Seat
from memr_service.state.state import State
from support.batches import config, make_batch, unit_rows


def record(n: int = 3, dimension: int = 2) -> Record:
    """A record with something in every field."""
    rng = np.random.default_rng(0)
    batch = make_batch(["a", "b", "a", "c"][:n], unit_rows(rng, n, dimension), [1, 0, 0.5, -2][:n], step=7)
    batch = replace(
        batch,
        answers=["4", None, "5"][:n],
        labels=[None, "ü", ""][:n],
        truncated=np.array([True, False, True][:n]),
        copied=np.array([0.0, 0.5, 1.0][:n]),
        foreign=np.array([0, 7, 225][:n]),
    )
    effects = replace(
        score(State(config()), batch, write=True),
        warnings=["a warning"],
        index_changes=[IndexChange("failure", "build", 0, 5)],
        raw={"exploit": np.array([np.nan, -0.0, -1.5])[:n], "explore": np.full(n, 2**-40)},
    )
    seats = [Seat("id 1", b"\1" * 32, np.array([0, 2])), Seat(None, b"", None)]
    return Record(2, 9, batch, effects, 100, b"\7" * 32, seats=seats, at=1.5, timing_ms={"score": 0.25})


def assert_same(one: Any, other: Any) -> None:
    """Equal to the last bit, NaN and all."""
    assert type(one) is type(other)
    if is_dataclass(one):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        assert_same(list(one.values()), list(other.values()))
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    else:
        assert one == other


def changed(value: Any) -> Iterator[Any]:
    """Values next to this one: each differs from it in one place."""
    if is_dataclass(value):
        for field in fields(value):
            for other in changed(getattr(value, field.name)):
                yield replace(value, **{field.name: other})  # type: ignore[type-var]
    elif isinstance(value, dict):
        for name in value:
            for other in changed(value[name]):
                yield {**value, name: other}
    elif isinstance(value, list):
        for place in range(len(value)):
            for other in changed(value[place]):
                yield [*value[:place], other, *value[place + 1 :]]
    elif isinstance(value, np.ndarray):
        other = value.copy().reshape(-1).view(np.uint8)
        other[0] ^= 1
        yield other.view(value.dtype).reshape(value.shape)
        yield value.astype(np.float16)
    elif value is None:
        yield 1
    elif isinstance(value, bytes):
        yield bytes([value[0] ^ 1]) + value[1:]
    elif isinstance(value, str):
        yield value + "x"
    else:
        yield value + 1


@pytest.mark.parametrize("n", [1, 3])
def test_a_record_comes_back_bit_equal(n: int) -> None:
    sealed, payload = seal(record(n))
    assert_same(unseal(payload), sealed)
    assert_same(replace(sealed, chain=b""), record(n))


def test_a_record_without_optional_columns_comes_back_bit_equal() -> None:
    batch = make_batch(["a"], unit_rows(np.random.default_rng(1), 1, 384), [1])
    effects = score(State(config()), batch, write=True)
    sealed, payload = seal(Record(0, 1, batch, effects, 0, GENESIS))
    assert_same(unseal(payload), sealed)


def test_sealing_twice_gives_the_same_bytes() -> None:
    assert seal(record())[1] == seal(record())[1]


def test_arrays_are_stored_alike_whatever_their_layout_in_memory() -> None:
    one = record()
    batch = replace(
        one.batch,
        completions=np.asfortranarray(one.batch.completions),
        outcomes=one.batch.outcomes.astype(">f8"),
        prompts=np.repeat(one.batch.prompts, 2, axis=0)[::2],
    )
    assert seal(replace(one, batch=batch))[1] == seal(one)[1]


def test_the_chain_does_not_depend_on_ids_clock_timing_or_branch() -> None:
    one = record()
    other = replace(one, branch=5, seats=[], at=99.0, timing_ms={})
    assert seal(one)[0].chain == seal(other)[0].chain
    assert seal(one)[1] != seal(other)[1]


def test_the_chain_depends_on_everything_else() -> None:
    one = record()
    repair = Repairs(np.array([1.0, 0.0, 0.0]), [None, "4", None], [None, "a reason", None], False)
    one = replace(one, effects=replace(one.effects, repair=repair))
    chains = {seal(one)[0].chain}
    others = 0
    for name in ("position", "first_serial", "parent", "batch", "effects"):
        for value in changed(getattr(one, name)):
            chains.add(seal(replace(one, **{name: value}))[0].chain)
            others += 1
    assert others > 50
    assert len(chains) == others + 1


def test_every_field_of_inputs_and_effects_comes_under_the_chain() -> None:
    one = record()
    for part in (one.batch, one.effects, one.effects.success):
        assert {field.name for field in fields(part)} <= set(vars(part))
    assert {field.name for field in fields(Record)} == {
        *("position", "first_serial", "parent", "batch", "effects"),  # chained
        *("chain", "branch", "seats", "at", "timing_ms"),  # beside
    }
    assert isinstance(one.batch, Batch)
    assert isinstance(one.effects, Effects)
    assert isinstance(one.effects.success, Writes)


def test_the_names_in_the_bytes_stay_what_they_are() -> None:
    beside, *packed = msgpack.unpackb(seal(record())[1])
    inputs, effects = (msgpack.unpackb(one) for one in packed)
    assert " ".join(beside) == "branch position serial parent seats at timing chain"
    assert " ".join(inputs) == (
        "keys prompts prompt_of completions outcomes group lengths step group_names answers labels truncated repeated"
        " copied foreign texts"
    )
    assert " ".join(effects) == (
        "success failure raw scaled rewards support warmup sizes rejected warnings index closes left_open baseline"
    )
    assert effects["index"] == [{"memory": "failure", "change": "build", "start": 0, "stop": 5}]


def test_a_flipped_byte_is_told_or_does_not_bear_on_the_state() -> None:
    sealed, payload = seal(record(1))
    told = 0
    for place in range(len(payload)):
        for flip in (0x01, 0x08, 0x10, 0x15, 0x80, 0xFF):
            damaged = payload[:place] + bytes([payload[place] ^ flip]) + payload[place + 1 :]
            try:
                found = unseal(damaged)
            except ValueError:
                told += 1
                continue
            for name in ("position", "first_serial", "parent", "chain", "batch", "effects"):
                assert_same(getattr(found, name), getattr(sealed, name))
    assert told > 0.9 * 6 * len(payload)


def test_bytes_that_are_cut_short_or_too_many_are_no_record() -> None:
    payload = seal(record(1))[1]
    for size in range(len(payload)):
        with pytest.raises(ValueError):
            unseal(payload[:size])
    with pytest.raises(ValueError):
        unseal(payload + b"\0")


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\xc0", b"hello", b"\x93\x80\x80\x80", b"\x93\x01\x02\x03"])
def test_other_bytes_are_no_record(payload: bytes) -> None:
    with pytest.raises(ValueError):
        unseal(payload)
