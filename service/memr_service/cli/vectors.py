"""`Vectors`: embeddings of logged rollouts, encoded once for all configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from memr_client.schemas import RunConfig

from memr_service.cli.rollouts import Rollout
from memr_service.encoder import Encoders
from memr_service.engine.inputs import completion_text, prompt_text

Column = Literal["prompts", "completions"]


class Vectors:
    """Embeddings of one request's rollouts, computed as the service does.

    vectors = Vectors(Encoders(["hashed"]), rollouts)
    vectors.embeddings(config)                              # {"prompts": (n, d), "completions": (n, d)}
    """

    def __init__(self, encoders: Encoders, rollouts: Sequence[Rollout]) -> None:
        self._encoders = encoders
        self._rollouts = rollouts
        self._known: dict[tuple[object, ...], dict[str, tuple[np.ndarray, bool]]] = {}

    def embeddings(self, config: RunConfig) -> dict[Column, np.ndarray] | None:
        """The embeddings for a run with this resolved config; None where the run encodes each turn itself."""
        if config.unit == "turn":
            return None
        prompts, completions = self._encoded(config)
        return {
            "prompts": np.stack([vector for vector, _ in prompts]),
            "completions": np.stack([vector for vector, _ in completions]),
        }

    def count(self, config: RunConfig) -> tuple[int, int]:
        """Number of distinct texts encoded here, and how many of them were too long to be read whole."""
        if config.unit == "turn":
            return 0, 0
        cut: dict[str, bool] = {}
        for texts, encoded in zip(self._texts(config), self._encoded(config), strict=True):
            cut |= zip(texts, (long for _, long in encoded), strict=True)
        return len(cut), sum(cut.values())

    def _texts(self, config: RunConfig) -> tuple[list[str], list[str]]:
        official = config.order == "official"
        return (
            [prompt_text(rollout.prompt) for rollout in self._rollouts],
            [
                completion_text(rollout.completion, config.reasoning_tags, official=official)
                for rollout in self._rollouts
            ],
        )

    def _encoded(self, config: RunConfig) -> list[list[tuple[np.ndarray, bool]]]:
        """For prompts and for completions: the vector of each text and whether it was cut."""
        assert config.encoder is not None
        encoder = self._encoders.load(config.encoder)
        found = []
        precisions = ("float32", self._encoders.resolve(config.encoder, config.precision))
        for precision, texts in zip(precisions, self._texts(config), strict=True):
            how = (config.encoder, precision, config.long_text, config.deterministic)
            known = self._known.setdefault(how, {})
            missing = [text for text in dict.fromkeys(texts) if text not in known]
            for batch in [[text] for text in missing] if config.deterministic else [missing]:
                encoded = encoder.encode(batch, precision, config.long_text)
                known |= zip(batch, zip(encoded.vectors, encoded.truncated.tolist(), strict=True), strict=True)
            found.append([known[text] for text in texts])
        return found
