"""From a request to the batch that is scored: embeddings as sent, or made by the run's encoder (L1, L2)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from memr_client.errors import Conflict, InvalidRequest, Unavailable
from memr_client.schemas import RewardRequest, RunConfig

from memr_service.encoder import Encoders
from memr_service.encoder.batcher import Batcher
from memr_service.engine import inputs
from memr_service.rewards.guards import copied_share, needs, repeated_share
from memr_service.run.run import Run
from memr_service.state.record import Batch


@dataclass(frozen=True)
class Sent:
    """Embeddings that a request carries: as unit rows, which are scored, and as they came, for its digest.

    `prompts` (u, d): the distinct ones, `prompt_of` (n,) says whose is whose. `completions` (n, d).
    """

    prompts: np.ndarray
    prompt_of: np.ndarray
    completions: np.ndarray
    raw: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Embedded:
    """A batch, how many texts were encoded for it, and how many of those were longer than what is read of a text."""

    batch: Batch
    encoded: int = 0
    truncated: int = 0

    def warnings(self, config: RunConfig) -> list[str]:
        """What the caller should know about the texts that were cut."""
        if not self.truncated:
            return []
        reads = "two of the encoder's windows" if config.long_text == "auto" else "the encoder reads"
        return [
            f"{self.truncated} of {self.encoded} texts ({self.truncated / self.encoded:.0%}) are longer than {reads} "
            "and were cut; a run with long_text='windows' reads them whole."
        ]


class EmbeddingStage:
    """Makes batches of requests, and knows which encoder a run is bound to."""

    def __init__(self, encoders: Encoders, batcher: Batcher) -> None:
        self.encoders = encoders
        self.batcher = batcher

    async def batch(
        self, run: Run, request: RewardRequest, keys: list[bytes], sent: Sent | None, deadline: float | None
    ) -> Embedded:
        """A request's inputs as they are scored; texts are encoded unless embeddings were sent.

        Prompts are encoded in float32 whatever the run's precision is: which of two prompts is a little nearer decides
        whose completions are read, and rounding should not.
        """
        config = run.config
        completion_texts = inputs.completion_texts(request, config)
        encoded = truncated = 0
        if sent is not None:
            prompts, prompt_of, completions = sent.prompts, sent.prompt_of, sent.completions
        elif not keys:
            prompts = completions = np.empty((0, run.state.dimension or 1), np.float32)
            prompt_of = np.empty(0, "<i4")
        else:
            prompt_texts = inputs.prompt_texts(request)
            texts = [*prompt_texts, *completion_texts]
            vectors, cut = await self._encode(await self.bound_to(run), config, deadline, texts, len(keys))
            prompts, completions = vectors[: len(keys)], vectors[len(keys) :]
            first, prompt_of = inputs.distinct_rows(prompts, keys)
            prompts = prompts[first]
            encoded = len(set(texts))
            truncated = len({text for text, is_cut in zip(texts, cut, strict=True) if is_cut})
        group, names = inputs.groups(request, keys)
        batch = Batch(
            keys=keys,
            prompts=inputs.rounded(prompts, config.storage),
            prompt_of=prompt_of,
            completions=inputs.rounded(completions, config.storage),
            outcomes=np.array(request.outcomes, np.float64),
            group=group,
            lengths=np.array([len(text) for text in completion_texts], "<i4"),
            step=request.step,
            group_names=names,
            answers=request.answers,
            labels=request.labels,
            truncated=None if request.truncated is None else np.array(request.truncated),
            **_measured(config, request, completion_texts, group),
        )
        return Embedded(batch, encoded, truncated)

    async def _encode(
        self, bound: dict[str, Any], config: RunConfig, deadline: float | None, texts: list[str], prompts: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vectors (n, d) of n texts, the first of which are `prompts`, and which of them were cut (n,)."""
        parts = []
        split = 0 if bound["precision"] == "float32" else prompts
        for precision, part in (("float32", texts[:split]), (bound["precision"], texts[split:])):
            if part:
                parts.append(
                    await self.batcher.encode(
                        bound["model"], part, precision, config.long_text, deadline, alone=config.deterministic
                    )
                )
        return np.concatenate([part.vectors for part in parts]), np.concatenate([part.truncated for part in parts])

    async def fingerprint(self, config: RunConfig, *, needed: bool = True) -> dict[str, Any] | None:
        """The encoder's fingerprint; None where it cannot be had and the caller sends embeddings anyway.

        It says what `precision: "auto"` means now: a run keeps that for good, whatever `auto` comes to mean.
        """
        try:
            return await asyncio.to_thread(self._fingerprint, config)
        except Unavailable:
            if needed:
                raise
            return None

    def _fingerprint(self, config: RunConfig) -> dict[str, Any]:
        assert config.encoder is not None
        precision = self.encoders.resolve(config.encoder, config.precision)
        return self.encoders.fingerprint(config.encoder, precision, config.long_text)

    async def bound_to(self, run: Run) -> dict[str, Any]:
        """The fingerprint a run is bound to, once this server's encoder is found to have the same (L2)."""
        bound = None if run.stored.encoder is None else orjson.loads(run.stored.encoder)
        frozen = run.config if bound is None else run.config.model_copy(update={"precision": bound["precision"]})
        have = await self.fingerprint(frozen)
        if bound is None or have is None or bound != have:
            raise Conflict(
                f"Run {run.stored.run_id!r} is bound to another encoder than this server's.",
                value=have,
                limit=bound,
                remedy="Serve it with the encoder it was created with, or send embeddings.",
            )
        return have


def _measured(config: RunConfig, request: RewardRequest, texts: list[str], group: np.ndarray) -> dict[str, np.ndarray]:
    """What the run's guards must know of the texts: columns of a batch (n,)."""
    found, wanted = {}, needs(config)
    if "repeated" in wanted:
        found["repeated"] = np.array([repeated_share(text) for text in texts])
    if "copied" in wanted:
        prompts = [inputs.prompt_text(prompt) for prompt in request.prompts]
        found["copied"] = np.array([copied_share(text, prompt) for text, prompt in zip(texts, prompts, strict=True)])
    if "foreign" in wanted:
        found["foreign"] = inputs.foreign(request.prompts, request.completions, group)
    return found


def sent_embeddings(request: RewardRequest, keys: list[bytes]) -> Sent | None:
    """The embeddings a request carries; None where the service is to make them.

    Args:
        keys: identity of each item's prompt (n).

    Raises:
        InvalidRequest: they are not n rows of one dimension (of prompts: as many as `prompt_of` names), or one of them
            is zero or not finite.
    """
    sent, n = request.embeddings, len(request.prompts)
    if sent is None or n == 0:
        return None
    row_of = None if sent.prompt_of is None else inputs.rows_of(sent.prompt_of, n)
    prompts = inputs.matrix(sent.prompts, "prompts", n if row_of is None else max(row_of) + 1)
    completions = inputs.matrix(sent.completions, "completions", n)
    if prompts.shape[1] != completions.shape[1]:
        raise InvalidRequest(
            f"embeddings.prompts have dimension {prompts.shape[1]}, embeddings.completions {completions.shape[1]}.",
            value=[prompts.shape[1], completions.shape[1]],
            limit="one dimension",
            remedy="Embed both with the same model.",
        )
    first, prompt_of = inputs.distinct_rows(prompts, keys, row_of)
    rows = first if row_of is None else np.array(row_of)[first]
    return Sent(
        prompts=inputs.unit_rows(prompts, "prompts", rows),
        prompt_of=prompt_of,
        completions=inputs.unit_rows(completions, "completions"),
        raw=(prompts[rows], prompt_of, completions),
    )
