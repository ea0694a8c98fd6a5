"""The answer to a request, as the bytes of a `RewardResponse`, built from columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from memr_service.state.record import Effects

TIMINGS = ("queue", "encode", "score", "commit", "total")


def untimed(
    run_id: str, branch: int, position: int, chain: bytes, effects: Effects, items: np.ndarray | None = None
) -> bytes:
    """An answer that lacks its timings (`timed` adds them), for the given items of the batch (None: all).

    Undefined raw values become null.
    """

    def mine(column: np.ndarray) -> np.ndarray:
        return column if items is None else column[items]

    fields: dict[str, Any] = {
        "run_id": run_id,
        "branch": branch,
        "position": position,
        "chain": chain.hex(),
        "rewards": mine(effects.rewards),
        "components": {
            name: {"raw": mine(raw), "scaled": mine(effects.scaled[name])} for name, raw in effects.raw.items()
        },
        "support": {side: mine(counts) for side, counts in effects.support.items()},
        "guards": {"rejected": _mine(effects.rejected or [[]] * len(effects.rewards), items)},
        "warmup": effects.warmup,
        "warnings": effects.warnings,
        "memory": {side: {"prompts": size[0], "completions": size[1]} for side, size in effects.sizes.items()},
    }
    return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)[:-1]


def timed(answer: bytes, timing_ms: dict[str, float]) -> bytes:
    """A `RewardResponse` as JSON: what `untimed` gave, and where the time went."""
    return (
        answer + b',"timing_ms":' + orjson.dumps({name: round(timing_ms.get(name, 0.0), 3) for name in TIMINGS}) + b"}"
    )


def known_at_the_end(answer: bytes) -> dict[str, Any]:
    """`memory` and `timing_ms` of an answer, which come last in it: all of it need not be read for them."""
    fields: dict[str, Any] = orjson.loads(b"{" + answer[answer.rindex(b'"memory":') :])
    return fields


def _mine(column: list[list[str]], items: np.ndarray | None) -> list[list[str]]:
    return column if items is None else [column[item] for item in items.tolist()]
