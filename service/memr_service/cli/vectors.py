"""The texts of logged rollouts as vectors: encoded once, however many configs ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from memr_client.schemas import RunConfig

from memr_service.batch import completion_text, prompt_text
from memr_service.cli.rollouts import Rollout
from memr_service.encoder import Encoders

Column = Literal["prompts", "completions"]


class Vectors:
    """Embeddings of one request's rollouts, as the service would make them.

    vectors = Vectors(Encoders(["hashed"]), rollouts)
    vectors.embeddings(config)                              # {"prompts": (n, d), "completions": (n, d)}
    """

    def __init__(self, encoders: Encoders, rollouts: Sequence[Rollout]) -> None:
        self._encoders = encoders
        self._rollouts = rollouts
        self._known: dict[tuple[object, ...], dict[str, tuple[np.ndarray, bool]]] = {}

    def embeddings(self, config: RunConfig) -> dict[Column, np.ndarray]:
        """What a run of this (resolved) config is sent."""
        known = self._encoded(config)
        prompts, completions = self._texts(config)
        return {
            "prompts": np.stack([known[text][0] for text in prompts]),
            "completions": np.stack([known[text][0] for text in completions]),
        }

    def count(self, config: RunConfig) -> tuple[int, int]:
        """Distinct texts that are encoded, and how many of those are longer than what is read of a text."""
        known, texts = self._encoded(config), {text for side in self._texts(config) for text in side}
        return len(texts), sum(known[text][1] for text in texts)

    def _texts(self, config: RunConfig) -> tuple[list[str], list[str]]:
        official = config.order == "official"
        return (
            [prompt_text(rollout.prompt) for rollout in self._rollouts],
            [
                completion_text(rollout.completion, config.reasoning_tags, official=official)
                for rollout in self._rollouts
            ],
        )

    def _encoded(self, config: RunConfig) -> dict[str, tuple[np.ndarray, bool]]:
        """Text -> its vector, and whether it was cut, for all texts that this config needs."""
        assert config.encoder is not None
        encoder = self._encoders.load(config.encoder)
        precision = self._encoders.resolve(config.encoder, config.precision)
        how = (config.encoder, precision, config.long_text, config.deterministic)
        known = self._known.setdefault(how, {})
        prompts, completions = self._texts(config)
        missing = [text for text in dict.fromkeys([*prompts, *completions]) if text not in known]
        for batch in [[text] for text in missing] if config.deterministic else [missing]:
            encoded = encoder.encode(batch, precision, config.long_text)
            known |= zip(batch, zip(encoded.vectors, encoded.truncated.tolist(), strict=True), strict=True)
        return known
