"""Requests of a trainer's steps, always the same for the same number, with embeddings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from memr_client.schemas import RewardRequest
from memr_service.engine.service import Service

D = 16


def rows(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


class Step:
    """A step of a trainer: four prompts, four completions each, cut into slices at will."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.prompts = [f"prompt {(number + item // 4) % 6}" for item in range(16)]
        self.completions = rows(1000 + number, 16)
        self.prompt_rows = np.stack([rows(int(prompt.split()[1]), 1)[0] for prompt in self.prompts])
        self.outcomes = [float(item % 3 == 0) for item in range(16)]

    def request(self, items: Sequence[int], **fields: Any) -> RewardRequest:
        return RewardRequest(
            run_id="run",
            prompts=[self.prompts[item] for item in items],
            completions=["" for _ in items],
            outcomes=[self.outcomes[item] for item in items],
            embeddings={"prompts": self.prompt_rows[list(items)], "completions": self.completions[list(items)]}
            if len(items)
            else None,
            **fields,
        )

    def part(self, part: int, parts: int, cuts: Sequence[int]) -> RewardRequest:
        ends = [0, *cuts, 16]
        return self.request(range(ends[part], ends[part + 1]), step=self.number, part=part, parts=parts)


async def ask(service: Service, request: RewardRequest) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((await service.reward(request)).body)
    return parsed


def batch(number: int, **fields: Any) -> dict[str, Any]:
    """The request of step `number`: always the same for the same number."""
    rng = np.random.default_rng(number)
    names = [f"prompt {one}" for one in rng.integers(7, size=8)]
    return {
        "run_id": "run",
        "prompts": names,
        "completions": [f"completion {number} {item}" for item in range(8)],
        "outcomes": rng.integers(2, size=8).astype(float).tolist(),
        "step": number,
        "request_id": f"step {number}",
        "embeddings": {
            "prompts": np.stack([np.random.default_rng(hash_of(name)).normal(size=D) for name in names]),
            "completions": rng.normal(size=(8, D)),
        },
        **fields,
    }


def hash_of(name: str) -> int:
    return 100 + int(name.split()[1])
