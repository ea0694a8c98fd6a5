"""Random histories of a run, and how to put them to the service and to the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from support.in_process import InProcess
from support.paper import Answer, Oracle

DIMENSION = 16


@dataclass
class Request:
    """A request as both sides are sent it; its rows need not be of unit length."""

    ids: list[str]
    prompts: np.ndarray
    completions: np.ndarray
    outcomes: list[float]
    groups: list[str] | None = None
    step: int | None = None
    mode: str = "train"
    answers: list[str | None] | None = None
    truncated: list[bool] | None = None


class World:
    """A trainer that asks at random: prompts in clusters, every third standing exactly where another one stands."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        centres = self.rng.normal(size=(6, DIMENSION))
        self.places = [self.row(centres[i % 6], 0.4) for i in range(30)]
        for i in range(0, 30, 3):
            self.places[i] = self.places[(7 * i + 1) % 30]
        self.said = [self.row(centres[0], 1.0)]
        self.step = 0

    def row(self, near: np.ndarray, spread: float) -> np.ndarray:
        """A float32 row that rounds to the same unit row in float16 however its length is summed up."""
        while True:
            row = (near + spread * self.rng.normal(size=DIMENSION)).astype(np.float32)
            unit = row / np.linalg.norm(row.astype(np.float64))
            if np.array_equal((unit * (1 - 1e-6)).astype(np.float16), (unit * (1 + 1e-6)).astype(np.float16)):
                return row

    def completion(self, prompt: int) -> np.ndarray:
        """Something near the prompt or, now and then, word for word what was said before."""
        if self.rng.random() < 0.15:
            return self.said[self.rng.integers(len(self.said))]
        self.said.append(self.row(self.places[prompt], 0.5))
        return self.said[-1]

    def request(self) -> Request:
        """One to four groups of up to six; sometimes shuffled, so that a prompt comes back later in the request."""
        asked = [i for i in self.rng.integers(30, size=self.rng.integers(1, 5)) for _ in range(self.rng.integers(1, 7))]
        if self.rng.random() < 0.4:
            self.rng.shuffle(asked)
        n = len(asked)
        prompts = np.stack([self.places[i] for i in asked])
        if self.rng.random() < 0.1:  # the same prompt embedded in another way
            prompts[-1] = self.row(prompts[-1], 1.5)
        completions = np.stack([self.completion(i) for i in asked])
        self.step += int(self.rng.integers(3))
        return Request(
            ids=[f"prompt {i}" for i in asked],
            prompts=prompts * self.rng.choice([0.5, 1, 2], size=(n, 1)).astype(np.float32),
            completions=completions * self.rng.choice([0.5, 1, 2], size=(n, 1)).astype(np.float32),
            outcomes=self.rng.choice([-1, -0.25, 0, 0.3, 0.5, 0.6, 0.7, 1, 2], size=n).tolist(),
            groups=None if self.rng.random() < 0.7 else self.rng.choice(["g", "h", "i"], size=n).tolist(),
            step=None if self.rng.random() < 0.5 else self.step,
            mode="eval" if self.rng.random() < 0.15 else "train",
        )


def ask_service(service: InProcess, run_id: str, request: Request, request_id: str | None = None) -> dict[str, Any]:
    """What the service answers (embeddings sent)."""
    return service.reward(
        run_id=run_id,
        request_id=request_id,
        prompts=["" for _ in request.ids],
        prompt_ids=request.ids,
        completions=["" for _ in request.ids],
        outcomes=request.outcomes,
        group_ids=request.groups,
        step=request.step,
        mode=request.mode,
        answers=request.answers,
        truncated=request.truncated,
        embeddings={"prompts": request.prompts, "completions": request.completions},
    )


def ask_oracle(oracle: Oracle, request: Request) -> Answer:
    """What the law says. Answers and `truncated` go to an oracle that knows of gates."""
    gated = {} if request.answers is None else {"answers": request.answers, "truncated": request.truncated}
    return oracle.reward(
        list(request.prompts),
        list(request.completions),
        request.ids,
        request.outcomes,
        step=request.step,
        mode=request.mode,
        groups=request.groups,
        **gated,
    )


def largest_difference(answer: dict[str, Any], expected: Answer) -> float:
    """Over rewards, raw and scaled values, after everything that is counted was found equal."""
    assert answer["support"] == expected.support
    sizes = {name: (memory["prompts"], memory["completions"]) for name, memory in answer["memory"].items()}
    assert sizes == expected.sizes
    assert answer["components"].keys() == expected.raw.keys()
    differences = [abs(x - y) for x, y in zip(answer["rewards"], expected.rewards, strict=True)]
    for name, values in answer["components"].items():
        assert [x is None for x in values["raw"]] == [x is None for x in expected.raw[name]]
        differences += [abs(x - y) for x, y in zip(values["raw"], expected.raw[name], strict=True) if x is not None]
        differences += [abs(x - y) for x, y in zip(values["scaled"], expected.scaled[name], strict=True)]
    return max(differences, default=0.0)
