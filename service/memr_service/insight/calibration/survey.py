"""Counts what the guards look at, over a run's records, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from memr_client.schemas import RunConfig

from memr_service.engine.inputs import completion_text
from memr_service.insight.calibration.histogram import Histogram
from memr_service.insight.calibration.neighbours import STEP, Neighbours
from memr_service.memory.cosine import rowwise_cosines
from memr_service.rewards.guards import repeated_share
from memr_service.state.record import Record

SAMPLED = 4096
"""If the records have no repetition, it is measured on the texts of about SAMPLED completions."""
COMPARED = 64
"""The first COMPARED completions of one prompt in one record are compared with each other."""

FindTexts = Callable[[Sequence[int]], dict[int, tuple[str, str]]]
"""Serial numbers -> (prompt, completion) by serial number, of the completions whose texts are kept."""


class Survey:
    """Histograms of everything that a guard looks at.

    survey = Survey(config, completions=run.state.serial)
    for record in records:
        survey.add(record, texts)
    survey.finish()
    propose(survey, run_id, position)
    """

    def __init__(self, config: RunConfig, completions: int) -> None:
        """Make an empty survey of a run that has taken so many completions."""
        self.config = config
        self.neighbours = Neighbours(config)
        self.topic = Histogram(STEP)
        """Cosine of each completion to its prompt."""
        self.chars = Histogram(1)
        """Characters of the encoded text."""
        self.repeated = Histogram(STEP, ceiling=True)
        """Share of a completion that repeats itself (`repeated_share`)."""
        self.truncated = Histogram(1)
        """1 where the trainer cut the completion, 0 where it did not; not counted where it does not say."""
        self.unlike = Histogram(STEP, ceiling=True)
        """Cosines of a right and a wrong completion of one prompt, all counted on the wrong side."""
        self.alike = Histogram(STEP)
        """Each completion's cosine to the most similar earlier one of the same prompt, record and side."""
        self.read = Histogram(1)
        """How many failures each completion was compared with."""
        self.steps: list[tuple[float, int, int]] = []
        """(median of `read`, right completions, wrong completions) of each step."""
        self._stride = max(1, completions // SAMPLED)
        self._step: tuple[int | None, list[np.ndarray], list[np.ndarray]] = (None, [], [])

    def add(self, record: Record, texts: FindTexts) -> None:
        """Count a record's items, but those that are masked: whether they are right is not known. `texts` is called if
        repetition was not recorded."""
        batch = record.scored
        known = batch.unmasked
        if not known.any():
            return
        right = batch.outcomes > self.config.success_threshold
        topic = rowwise_cosines(batch.prompts[batch.prompt_of], batch.completions)
        self.topic.add(topic[known], right[known])
        self.chars.add(batch.lengths[known].astype(np.float64), right[known])
        if batch.truncated is not None:
            self.truncated.add(batch.truncated[known].astype(np.float64), right[known])
        self.repeated.add(self._repetition(record, texts)[known], right[known])
        self._compare_siblings(record, right, known)
        if self.config.barrier != "snapshot":  # its items read before their group is written
            self.neighbours.add(batch)
        self._follow(batch.step, record.effects.support["failure"][known], right[known])

    def finish(self) -> None:
        """Close the last step."""
        _, reads, right = self._step
        if reads:
            read, sides = np.concatenate(reads), np.concatenate(right)
            self.steps.append((float(np.median(read)), int(sides.sum()), int((~sides).sum())))
        self._step = (None, [], [])

    def _follow(self, step: int | None, read: np.ndarray, right: np.ndarray) -> None:
        """Count the failures read. Consecutive records of one step are one step; so is a record without a step."""
        self.read.add(read.astype(np.float64), right)
        if step is None or step != self._step[0]:
            self.finish()
            self._step = (step, [], [])
        self._step[1].append(read)
        self._step[2].append(right)

    def _repetition(self, record: Record, texts: FindTexts) -> np.ndarray:
        """Repeated share of each item (n,), NaN where it is unknown."""
        if record.batch.repeated is not None:
            return record.batch.repeated
        serials = record.first_serial + np.arange(len(record.batch))
        wanted = serials[serials % self._stride == 0].tolist()
        shares = np.full(len(serials), np.nan)
        official = self.config.order == "official"
        for serial, (_, completion) in texts(wanted).items() if wanted else ():
            text = completion_text(completion, self.config.reasoning_tags, official=official)
            shares[serial - record.first_serial] = repeated_share(text)
        return shares

    def _compare_siblings(self, record: Record, right: np.ndarray, known: np.ndarray) -> None:
        members: dict[bytes, list[int]] = {}
        for item in np.flatnonzero(known).tolist():
            members.setdefault(record.batch.keys[item], []).append(item)
        for items in members.values():
            some = np.array(items[:COMPARED])
            rows, side = record.batch.completions[some].astype(np.float64), right[some]
            similar = rows @ rows.T
            pairs = similar[side][:, ~side].ravel()
            self.unlike.add(pairs, np.zeros(len(pairs), bool))
            before = np.tri(len(some), k=-1, dtype=bool) & (side[:, None] == side[None, :])
            nearest = np.where(before, similar, -np.inf).max(axis=1)
            self.alike.add(np.where(np.isinf(nearest), np.nan, nearest), side)
