"""The requests: GSM8K questions, each with a group of four models' solutions, in the same order for all variants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from support.real_data import solutions

N = 64
"""Completions per request."""


@dataclass(frozen=True)
class Request:
    """The columns of 64 completions."""

    prompts: list[str]
    completions: list[str]
    outcomes: list[float]


def requests(group: int, seed: int = 0) -> Iterator[Request]:
    """Requests of 64 completions in groups of 4 or 16, in which no text occurs twice.

    A question has four solutions. A group of 16 has the solutions of four questions under the first one, since a text's
    meaning does not affect the time.
    """
    questions = solutions()
    order = np.random.default_rng(seed).permutation(len(questions)).tolist()
    per_request = N // 4
    for start in range(0, len(order) - per_request, per_request):
        chosen = [questions[at] for at in order[start : start + per_request]]
        leads = [chosen[at - at % (group // 4)] for at in range(per_request)]
        rows = [
            (lead["question"], made["solution"], float(made["is_correct"]))
            for lead, question in zip(leads, chosen, strict=True)
            for made in question["solutions"]
        ]
        yield Request(*map(list, zip(*rows, strict=True)))  # type: ignore[arg-type]
