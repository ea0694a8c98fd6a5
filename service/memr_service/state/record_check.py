"""Whether a record that somebody else made has the fields, types and shapes that `record` declares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from memr_service.memory import CuratedWrites, Writes
from memr_service.state import decisions
from memr_service.state.answers import check_earlier
from memr_service.state.pass_rates import KEY_BYTES, TEXT_BYTES
from memr_service.state.pool import Pool
from memr_service.state.record import Batch, Effects, Record, Repairs

SIDES = {"success", "failure"}
MOST = 1 << 62
"""Serial numbers and steps are below it."""
LONGEST = 1.01
"""No number of a row whose length is 1 is above it, rounded or not."""


def check(record: Record, components: set[str]) -> None:
    """Look at everything that is read later, by whatever part.

    Args:
        components: the names in the run's config.

    Raises:
        ValueError: a field is not what it should be.
    """
    n = len(record.batch)
    _require("position", _is_count(record.position))
    _require("first_serial", _is_count(record.first_serial))
    _require("at", _is_number(record.at))
    _require("timing_ms", _is_map(record.timing_ms) and all(map(_is_number, record.timing_ms.values())))
    for seat in record.seats:
        _require("request_id", seat.request_id is None or isinstance(seat.request_id, str))
        _require("body_digest", isinstance(seat.body_digest, bytes))
        _require("seats", seat.items is None or _is_index(seat.items, n))
    _check_batch(record.batch, n)
    _check_effects(record.effects, n, components)


def _check_batch(batch: Batch, n: int) -> None:
    _require("keys", all(isinstance(key, bytes) for key in batch.keys))
    _require("completions", _is_matrix(batch.completions) and len(batch.completions) == n)
    _require("prompts", _is_matrix(batch.prompts) and batch.prompts.shape[1] == batch.dimension)
    _require("prompt_of", _is_index(batch.prompt_of, len(batch.prompts), n))
    _require("group", _is_index(batch.group, n, n))
    _require("lengths", _is_column(batch.lengths, n, "iu") and bool((batch.lengths >= 0).all()))
    _require("outcomes", _is_column(batch.outcomes, n, "f") and bool(np.isfinite(batch.outcomes).all()))
    _require("step", batch.step is None or _is_count(batch.step))
    _require("group_names", _is_list(batch.group_names, bytes))
    _require("equal_spread", batch.equal_spread is None or _is_number(batch.equal_spread))
    for name in ("answers", "labels", "prompt_ids", "references"):
        texts = getattr(batch, name)
        _require(name, texts is None or (_is_list(texts, str | None) and len(texts) == n))
    _require("texts", batch.texts is None or _is_bytes(batch.texts, TEXT_BYTES, n))
    _require("masked", batch.masked is None)
    if batch.turns_left is not None:
        _require("turns_left", _is_column(batch.turns_left, n, "iu") and _counts_down(batch.turns_left))
    if batch.sets_up:
        _require("keys", n == 0)
    if batch.prior is not None:
        _check_prior(batch.prior)
    for name, check_packed in (("prior_answers", check_earlier), ("decisions", decisions.check)):
        if (given := getattr(batch, name)) is not None:
            _require(name, _is_map(given) and given.keys() == {"packed"} and _is_column(given["packed"], None, "u"))
            check_packed(given["packed"])
    if batch.pool is not None:
        _check_pool(batch.pool)
    if batch.forget is not None:
        _check_forget(batch.forget)
    for name in ("truncated", "names_answer", "sent", "late", "repeated", "copied", "foreign"):
        column = getattr(batch, name)
        _require(name, column is None or _is_column(column, n, "biuf"))


def _counts_down(turns_left: np.ndarray) -> bool:
    """Whether each completion's turns end with 0, and each is followed by one less."""
    return not len(turns_left) or bool(
        (turns_left >= 0).all()
        and turns_left[-1] == 0
        and ((turns_left[:-1] == 0) | (turns_left[1:] == turns_left[:-1] - 1)).all()
    )


def _check_prior(prior: dict[str, np.ndarray]) -> None:
    _require("prior", _is_map(prior) and prior.keys() == {"keys", "texts", "right", "wrong"})
    n = len(prior["keys"]) if isinstance(prior["keys"], np.ndarray) and prior["keys"].ndim else None
    _require("prior", _is_bytes(prior["keys"], KEY_BYTES, n) and _is_bytes(prior["texts"], TEXT_BYTES, n))
    _require("keys", len({key.tobytes() for key in prior["keys"]}) == n)
    for name in ("right", "wrong"):
        counts = prior[name]
        _require(name, _is_column(counts, n, "f") and bool((np.isfinite(counts) & (counts >= 0)).all()))


def _check_pool(pool: dict[str, np.ndarray]) -> None:
    _require("pool", _is_map(pool) and pool.keys() == {"names", "ends", "keys", "texts"})
    names, ends = pool["names"], pool["ends"]
    _require("names", _is_column(names, None, "u") and names.dtype.itemsize == 1)
    _require("ends", _is_index(ends, len(names) + 1) and bool((np.diff(ends) >= 0).all()))
    _require("keys", _is_bytes(pool["keys"], KEY_BYTES, len(ends)))
    _require("texts", _is_bytes(pool["texts"], TEXT_BYTES, len(ends)) or _is_bytes(pool["texts"], TEXT_BYTES, 0))
    made = Pool(**pool)
    for number in range(len(made)):
        made.name(number)


def _check_forget(forget: dict[str, np.ndarray]) -> None:
    _require("forget", _is_map(forget) and forget.keys() == {"keys"} and isinstance(forget["keys"], np.ndarray))
    _require("forget", _is_bytes(forget["keys"], KEY_BYTES, len(forget["keys"]) if forget["keys"].ndim else None))


def _check_effects(effects: Effects, n: int, components: set[str]) -> None:
    for name, columns in (("raw", effects.raw), ("scaled", effects.scaled)):
        _require(name, _is_map(columns) and columns.keys() == components)
        _require(name, all(_is_column(column, n, "f") for column in columns.values()))
    _require("rewards", _is_column(effects.rewards, n, "f") and bool(np.isfinite(effects.rewards).all()))
    _require(
        "support",
        _is_map(effects.support) and effects.support.keys() == (SIDES if n else effects.support.keys() & SIDES),
    )
    _require("support", all(_is_column(column, n, "iu") for column in effects.support.values()))
    _require("baseline", effects.baseline is None or _is_column(effects.baseline, n, "f"))
    _require("warmup", _is_map(effects.warmup) and all(map(_is_count, effects.warmup.values())))
    _require("sizes", _is_map(effects.sizes) and effects.sizes.keys() == SIDES)
    _require("sizes", all(_is_list(size, int) and len(size) == 2 for size in effects.sizes.values()))
    _require("rejected", isinstance(effects.rejected, list) and len(effects.rejected) in (0, n))
    _require("rejected", all(_is_list(reasons, str) for reasons in effects.rejected))
    _require("warnings", _is_list(effects.warnings, str))
    _require("closes", _is_list(effects.closes, bytes))
    _require("left_open", effects.left_open is None or _is_index(effects.left_open, n))
    for writes in (effects.success, effects.failure):
        _check_writes(writes)
    if effects.repair is not None:
        _check_repair(effects.repair, n)


def _check_repair(repair: Repairs, n: int) -> None:
    _require("outcomes", _is_column(repair.outcomes, n, "f") and bool(np.isfinite(repair.outcomes).all()))
    for texts in (repair.answers, repair.why):
        _require("repair", _is_list(texts, str | None) and len(texts) == n)
    _require("repair", [one is None for one in repair.answers] == [one is None for one in repair.why])
    _require("repair", isinstance(repair.masks, bool))


def _check_writes(writes: Writes) -> None:
    n = len(writes.item) if isinstance(writes.item, np.ndarray) and writes.item.ndim == 1 else -1
    for name in ("item", "prompt"):
        column = getattr(writes, name)
        _require(name, _is_column(column, n, "iu") and bool((column >= 0).all()))
    for name in ("drops_prompt", "drops_entry"):
        _require(name, _is_column(getattr(writes, name), n, "b"))
    if isinstance(writes, CuratedWrites):
        _require("step", _is_count(writes.step))
        _require("expired", _is_column(writes.expired, None, "iu"))
        for name in ("into", "left_prompt", "left_entry"):
            _require(name, _is_column(getattr(writes, name), n, "iu"))


def _require(field: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"its field {field!r} is not what it should be")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_list(values: Any, of: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, of) for value in values)


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _is_column(value: Any, n: int | None, kinds: str) -> bool:
    """Whether it is an array (n,), of any length if n is None, of such a kind of numbers."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in kinds:
        return False
    return n is None or len(value) == n


def _is_index(value: Any, below: int, n: int | None = None) -> bool:
    """Whether it is a column of whole numbers from 0 to `below` - 1."""
    return _is_column(value, n, "iu") and bool(((value >= 0) & (value < below)).all())


def _is_bytes(value: Any, width: int, n: int | None) -> bool:
    """Whether it is an array of bytes (n, width)."""
    shaped = isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype == np.uint8
    return bool(shaped) and n is not None and value.shape == (n, width)


def _is_matrix(value: Any) -> bool:
    """Whether it is an array of embeddings (n, d). Their rows have the length 1, so no number is above it."""
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind != "f":
        return False
    return bool((np.abs(value) <= LONGEST).all())  # NaN is not
