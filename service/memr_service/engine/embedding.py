"""From a request's items to the batch that is scored: embeddings as sent, or computed by the run's encoder (L1, L2)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import orjson
from memr_client.errors import Conflict, EncoderUnusable, Unavailable
from memr_client.schemas import RewardRequest, RunConfig

from memr_service.encoder import Encoders
from memr_service.encoder.batcher import Batcher
from memr_service.engine.by_turns import TurnItems, by_turns
from memr_service.engine.inputs import Items, read_between
from memr_service.engine.sent_embeddings import distinct_prompts
from memr_service.engine.text_thread import Steps, TextThread, are_small, in_one_step
from memr_service.rewards.guards import (
    copied_as_written,
    copied_share,
    foreign_stretches,
    longest_answer,
    names_answer,
    needs,
    repeated_share,
    tells_sent_apart,
)
from memr_service.run.run import Run
from memr_service.state.answers import canonical
from memr_service.state.law import ANSWERS, PASS_RATES
from memr_service.state.record import Batch
from memr_service.verifiers.extraction import extracted, pattern_of, reference


@dataclass(frozen=True)
class Embedded:
    """A batch, and what became of the texts of its items."""

    batch: Batch
    prompts: Sequence[str]
    """The prompt of each item of the batch (n)."""
    completions: list[str]
    """The whole text of each item of the batch (n): of a completion, or of a turn."""
    encoded: int
    """How many distinct texts were encoded."""
    truncated: int
    """How many of those were truncated."""
    warnings: list[str]
    """What the caller should know about its texts."""


class EmbeddingStage:
    """Turns the items of requests into batches, and checks which encoder a run is bound to."""

    def __init__(self, encoders: Encoders, batcher: Batcher, text_thread: TextThread, most_turns: int) -> None:
        self.encoders = encoders
        self.batcher = batcher
        self._text_thread = text_thread
        self._most_turns = most_turns
        self._bound: WeakKeyDictionary[Run, dict[str, Any]] = WeakKeyDictionary()
        """Fingerprints that were compared with a loaded encoder, so that they stay true."""

    async def batch(self, run: Run, items: Items) -> Embedded:
        """The items as they are scored; texts are encoded unless embeddings were sent.

        Prompts are encoded in float32 whatever the run's precision is: rounding must not decide which of two prompts is
        nearer, because that decides whose completions are read.

        Raises:
            Conflict: the run is bound to another encoder. DeadlineExceeded, EncoderUnusable, Overloaded,
                Unavailable: see `Batcher`. TooLarge: see `TextThread`. InvalidRequest, TooLarge: see `by_turns`.
        """
        config, asked, turns = run.config, items, None
        if config.unit == "turn":
            taking = in_one_step(by_turns, items, config, run.law, self._most_turns)
            turns = await self._text_thread.ask(items.request.run_id, taking, small=items.light)
            items = turns.items
        request = items.request
        reading = _read(config, items, run.law, turns)
        small = items.light
        if config.extract is not None and run.law >= ANSWERS:  # a pattern may take long on any text
            small = pattern_of(config.extract) is None and are_small(request.completions, items.prompts)
        whole, completion_texts, measures = await self._text_thread.ask(request.run_id, reading, small=small)
        encoded = truncated = 0
        if items.sent is not None:
            prompts, prompt_of, completions = items.sent.prompts, items.sent.prompt_of, items.sent.completions
        elif not items:
            prompts = completions = np.empty((0, 1), np.float32)
            prompt_of = np.empty(0, "<i4")
        else:
            texts = [*items.prompts, *completion_texts]
            vectors, cut = await self._encode(await self.bound_to(run), config, items.deadline, texts, len(items))
            prompts, completions = vectors[: len(items)], vectors[len(items) :]
            first, prompt_of = distinct_prompts(prompts, items.keys)
            prompts = prompts[first]
            encoded = len(set(texts))
            truncated = len({text for text, is_cut in zip(texts, cut, strict=True) if is_cut})
        batch = Batch(
            keys=items.keys,
            prompts=rounded(prompts, config.storage),
            prompt_of=prompt_of,
            completions=rounded(completions, config.storage),
            outcomes=np.array(request.outcomes, np.float64),
            group=items.group,
            lengths=np.array([len(text) for text in completion_texts], "<i4"),
            step=request.step,
            group_names=items.group_names,
            labels=request.labels,
            truncated=None if request.truncated is None else np.array(request.truncated),
            equal_spread=request.equal_spread,
            texts=items.texts if run.law >= PASS_RATES else None,
            turns_left=None if turns is None else turns.turns_left,
            **({"answers": request.answers} | measures),
        )
        unread = asked.unread(whole if turns is None else asked.completions(config, run.law), run.law)
        warnings = [*items.warnings, *unread, *_cut(truncated, encoded, config)]
        return Embedded(batch, items.prompts, whole, encoded, truncated, warnings)

    async def _encode(
        self, bound: dict[str, Any], config: RunConfig, deadline: float | None, texts: list[str], prompts: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vectors (n, d) of n texts, the first `prompts` of them prompts, and whether each was truncated (n,)."""
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
        """The encoder's fingerprint; None if the encoder cannot be loaded and is not `needed`.

        It resolves `precision: "auto"`; a run keeps that precision for good.
        """
        try:
            return await asyncio.to_thread(self._fingerprint, config)
        except (EncoderUnusable, Unavailable):
            if needed:
                raise
            return None

    def _fingerprint(self, config: RunConfig) -> dict[str, Any]:
        assert config.encoder is not None
        precision = self.encoders.resolve(config.encoder, config.precision)
        return self.encoders.fingerprint(config.encoder, precision, config.long_text)

    async def bound_to(self, run: Run) -> dict[str, Any]:
        """The fingerprint a run is bound to, which must be the one of this server's encoder (L2).

        Raises:
            Conflict: it is another.
        """
        if (known := self._bound.get(run)) is not None:
            return known
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
        if self.encoders.loaded(have["model"]):
            self._bound[run] = have
        return have


def rounded(vectors: np.ndarray, storage: str) -> np.ndarray:
    """float32 vectors as the run stores them: rounded to float16 first if its `storage` is float16 (L2)."""
    return vectors.astype(np.float16).astype(np.float32) if storage == "float16" else vectors


def _cut(truncated: int, encoded: int, config: RunConfig) -> list[str]:
    """A warning if some of the encoded texts were truncated."""
    if not truncated:
        return []
    reads = "two of the encoder's windows" if config.long_text == "auto" else "the encoder reads"
    return [
        f"{truncated} of {encoded} texts ({truncated / encoded:.0%}) are longer than {reads} and were cut; a run with "
        "long_text='windows' reads them whole."
    ]


def _read(
    config: RunConfig, items: Items, law: int, turns: TurnItems | None
) -> Steps[tuple[list[str], list[str], dict[str, Any]]]:
    """The whole text of each completion (n), the part of it that is encoded (n), and the measures of the texts that the
    run's guards need, with the answers: columns of a batch (n,), by name. Of turns only the last have answers."""
    wanted, longest = needs(config), longest_answer(config)
    tags, official = config.reasoning_tags, config.order == "official"
    share = copied_share if law >= PASS_RATES else copied_as_written
    whole = items.completions(config, law)
    yield
    encoded = whole if tags is None else [read_between(text, tags, official=official) for text in whole]
    yield
    repeated, copied, names = [], [], []
    for text, prompt in zip(encoded, items.prompts, strict=True) if wanted else ():
        if "repeated" in wanted:
            repeated.append(repeated_share(text))
        if "copied" in wanted:
            copied.append(share(text, prompt))
        if "names_answer" in wanted:
            names.append(len(text) <= longest and names_answer(text, prompt))
        yield
    columns = {"repeated": np.array(repeated), "copied": np.array(copied), "names_answer": np.array(names, bool)}
    found: dict[str, Any] = {name: column for name, column in columns.items() if name in wanted}
    if "foreign" in wanted:
        found["foreign"] = yield from foreign_stretches(whole, items.prompts, items.group)
    if items.sent is not None and tells_sent_apart(config):
        found["sent"] = np.ones(len(items), bool)
    if law >= ANSWERS:
        found |= yield from _answers(config.extract, items.request, whole)
        if turns is not None and "answers" in found:
            found["answers"] = turns.of_last(found["answers"])
    return whole, encoded, found


def _answers(extract: str | None, request: RewardRequest, whole: list[str]) -> Steps[dict[str, Any]]:
    """The columns of `answers_of`, with the answers that the run's `extract` finds where none were sent.

    Args:
        whole: the whole text of each completion (n).
    """
    answers: list[str | None] = [*request.answers] if request.answers is not None else [None] * len(whole)
    if extract is not None:
        missing = [item for item, answer in enumerate(answers) if answer is None]
        for item, answer in zip(missing, extracted(extract, [whole[item] for item in missing]), strict=True):
            answers[item] = answer
            yield
    return answers_of(extract, answers, request.references, request.prompt_ids)


def answers_of(
    extract: str | None,
    answers: list[str | None],
    references: list[str | None] | None,
    prompt_ids: list[str] | None,
) -> dict[str, Any]:
    """Answers and references in the form in which they are counted, with the prompts' ids: columns of a batch (n), by
    name; none if no answers can come."""
    if extract is None and all(answer is None for answer in answers):
        return {}
    forms: dict[str | None, str | None] = {one: canonical(one) for one in {*answers}}
    columns: dict[str, Any] = {"answers": [*map(forms.__getitem__, answers)]}
    if references is not None:
        forms = {one: None if one is None else canonical(reference(extract, one)) for one in {*references}}
        columns["references"] = [*map(forms.__getitem__, references)]
    if prompt_ids is not None:
        columns["prompt_ids"] = prompt_ids
    return columns
