"""The answer to a request, as the bytes of a `RewardResponse`, built from columns."""

from __future__ import annotations

from typing import Any

import orjson

from memr_service.record import Effects


def answer(
    run_id: str, branch: int, position: int, chain: bytes, effects: Effects, timing_ms: dict[str, float]
) -> bytes:
    """A `RewardResponse` as JSON; undefined raw values become null."""
    sizes = {side: {"prompts": size[0], "completions": size[1]} for side, size in effects.sizes.items()}
    fields: dict[str, Any] = {
        "run_id": run_id,
        "branch": branch,
        "position": position,
        "chain": chain.hex(),
        "rewards": effects.rewards,
        "components": {name: {"raw": effects.raw[name], "scaled": effects.scaled[name]} for name in effects.raw},
        "support": effects.support,
        "guards": {"rejected": [[]] * len(effects.rewards)},
        "warmup": effects.warmup,
        "warnings": effects.warnings,
        "memory": sizes,
        "timing_ms": {name: round(timing_ms.get(name, 0.0), 3) for name in TIMINGS},
    }
    return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)


TIMINGS = ("queue", "encode", "score", "commit", "total")
