"""The response to a reward request: a `RewardResponse` and its JSON, built from arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import orjson
from memr_client.schemas import RunConfig

from memr_service.rewards.turns import Turns
from memr_service.rewards.zeros import why_zero
from memr_service.state.record import Effects, Record
from memr_service.store.base import NewResponse

TIMINGS = ("queue", "encode", "score", "commit", "total")


@dataclass(frozen=True)
class Response:
    """The response to one request.

    `body`: a `RewardResponse` as JSON. `replayed`: whether the request id had it already (L12).
    """

    body: bytes
    replayed: bool = False
    written: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    """The fields that the body was written from. None: the body comes from the store."""

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The fields of the `RewardResponse`. Per-item values are arrays (n,), and lists if it comes from the store."""
        if self.written is not None:
            return self.written
        read: dict[str, Any] = orjson.loads(self.body)
        return read

    @property
    def memory(self) -> dict[str, dict[str, int]]:
        """Memory -> its size in prompts and in completions."""
        sizes: dict[str, dict[str, int]] = self.fields["memory"]
        return sizes

    @property
    def timing_ms(self) -> dict[str, float]:
        """Milliseconds of each of TIMINGS."""
        timings: dict[str, float] = self.fields["timing_ms"]
        return timings


@dataclass(frozen=True)
class Draft:
    """A response without its timings, which are known only after the commit: its fields, and their JSON left open."""

    fields: dict[str, Any]
    json: bytes

    @classmethod
    def of(
        cls,
        run_id: str,
        branch: int,
        position: int,
        chain: bytes,
        effects: Effects,
        items: np.ndarray | None = None,
        why_zero: Sequence[str] = (),
        turns: Turns | None = None,
    ) -> Draft:
        """What some items of a batch get (None: all). Undefined raw values are NaN in the arrays, null in the JSON.

        Args:
            turns: the completions whose turns these items are; None: the items are completions.
        """

        def taken(column: np.ndarray) -> np.ndarray:
            return column if items is None else column[items]

        def mine(column: np.ndarray) -> np.ndarray:
            return taken(column) if turns is None else turns.combined(taken(column))

        rejected = effects.rejected or [[]] * len(effects.rewards)
        rejected = rejected if items is None else [rejected[item] for item in items.tolist()]
        fields: dict[str, Any] = {
            "run_id": run_id,
            "branch": branch,
            "position": position,
            "chain": chain.hex(),
            "rewards": mine(effects.rewards),
            "components": {
                name: {"raw": mine(raw), "scaled": mine(effects.scaled[name])} for name, raw in effects.raw.items()
            },
            "support": {
                side: taken(counts) if turns is None else turns.added(taken(counts))
                for side, counts in effects.support.items()
            },
            "guards": {"rejected": rejected if turns is None else turns.united(rejected)},
            "warmup": effects.warmup,
            "warnings": effects.warnings,
            "why_zero": list(why_zero),
            "memory": {side: {"prompts": size[0], "completions": size[1]} for side, size in effects.sizes.items()},
        }
        if effects.baseline is not None:
            fields["baseline"] = taken(effects.baseline) if turns is None else taken(effects.baseline)[turns.ends]
        if turns is not None:
            fields["turns"] = turns.listed(taken(effects.rewards))
        if (repair := effects.repair) is not None:
            why = repair.why if items is None else [repair.why[item] for item in items.tolist()]
            fields |= {"outcomes_used": mine(repair.outcomes), "repaired": why}
        return cls(fields, orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)[:-1])

    def response(self, timing_ms: dict[str, float]) -> Response:
        """The response with its timings, rounded to microseconds."""
        timings = {name: round(timing_ms.get(name, 0.0), 3) for name in TIMINGS}
        body = self.json + b',"timing_ms":' + orjson.dumps(timings) + b"}"
        return Response(body, written={**self.fields, "timing_ms": timings})


def drafts(run_id: str, config: RunConfig, record: Record) -> list[Draft]:
    """The response to each request that makes up a record, without timings."""
    where = (run_id, record.branch, record.position, record.chain)
    batch, effects = record.scored, record.effects
    return [
        Draft.of(
            *(*where, effects, seat.items),
            why_zero(config, batch, effects, seat.items),
            Turns.of(config, batch, seat.items),
        )
        for seat in record.seats
    ]


def to_store(record: Record, drafted: list[Draft]) -> Iterator[NewResponse]:
    """The responses that the store keeps with a record: those of its requests that have an id (L12)."""
    for seat, draft in zip(record.seats, drafted, strict=True):
        if seat.request_id is not None:
            yield NewResponse(seat.request_id, seat.body_digest, draft.response(record.timing_ms).body)
