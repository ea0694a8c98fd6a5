"""What a run's records say about its completions, counted one record at a time."""

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
"""About so many completions have their repetition measured on their texts, where no guard has had it recorded."""
COMPARED = 64
"""Of one prompt in one record so many completions are compared with each other."""

FindTexts = Callable[[Sequence[int]], dict[int, tuple[str, str]]]
"""Serial numbers -> (prompt, completion) of those that are still kept."""


class Survey:
    """Counts of everything a guard looks at.

    survey = Survey(config, completions=run.state.serial)
    for record in records:
        survey.add(record, texts)
    propose(survey)
    """

    def __init__(self, config: RunConfig, completions: int) -> None:
        """`completions`: how many the run has taken in all."""
        self.config = config
        self.neighbours = Neighbours(config)
        self.topic = Histogram(STEP)
        """Cosine of each completion to its prompt."""
        self.chars = Histogram(1)
        """Characters of the encoded text."""
        self.repeated = Histogram(STEP, ceiling=True)
        """Share of a completion that repeats what was said earlier in it."""
        self.truncated = Histogram(1)
        """1 where the trainer cut the completion, 0 where it did not; nothing where it does not say."""
        self.unlike = Histogram(STEP, ceiling=True)
        """Cosines between a right and a wrong completion of one prompt (all counted as of wrong ones)."""
        self.alike = Histogram(STEP)
        """Each completion's cosine to the most similar one before it, of its prompt, record and side."""
        self.read = Histogram(1)
        """Failures that each completion was compared with."""
        self.steps: list[tuple[float, int, int]] = []
        """Of each step the median of `read`, and how many right and wrong completions it had."""
        self._stride = max(1, completions // SAMPLED)
        self._step: tuple[int | None, list[np.ndarray], list[np.ndarray]] = (None, [], [])

    def add(self, record: Record, texts: FindTexts) -> None:
        """Count a record's items; `texts` are asked for where repetition was not recorded."""
        batch = record.batch
        if not len(batch):
            return
        right = batch.outcomes > self.config.success_threshold
        self.topic.add(rowwise_cosines(batch.prompts[batch.prompt_of], batch.completions), right)
        self.chars.add(batch.lengths.astype(np.float64), right)
        if batch.truncated is not None:
            self.truncated.add(batch.truncated.astype(np.float64), right)
        self.repeated.add(self._repetition(record, texts), right)
        self._compare_siblings(record, right)
        if self.config.barrier != "snapshot":  # whose items are read before their group is written
            self.neighbours.add(batch)
        self._follow(batch.step, record.effects.support["failure"], right)

    def finish(self) -> None:
        """Close the last step."""
        _, reads, right = self._step
        if reads:
            read, sides = np.concatenate(reads), np.concatenate(right)
            self.steps.append((float(np.median(read)), int(sides.sum()), int((~sides).sum())))
        self._step = (None, [], [])

    def _follow(self, step: int | None, read: np.ndarray, right: np.ndarray) -> None:
        """Records that name the same step, one after another, are one; a record without a step is one."""
        self.read.add(read.astype(np.float64), right)
        if step is None or step != self._step[0]:
            self.finish()
            self._step = (step, [], [])
        self._step[1].append(read)
        self._step[2].append(right)

    def _repetition(self, record: Record, texts: FindTexts) -> np.ndarray:
        """Repeated share of each item (n,), NaN where it is not known."""
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

    def _compare_siblings(self, record: Record, right: np.ndarray) -> None:
        members: dict[bytes, list[int]] = {}
        for item, key in enumerate(record.batch.keys):
            members.setdefault(key, []).append(item)
        for items in members.values():
            some = np.array(items[:COMPARED])
            rows, side = record.batch.completions[some].astype(np.float64), right[some]
            similar = rows @ rows.T
            pairs = similar[side][:, ~side].ravel()
            self.unlike.add(pairs, np.zeros(len(pairs), bool))
            before = np.tri(len(some), k=-1, dtype=bool) & (side[:, None] == side[None, :])
            nearest = np.where(before, similar, -np.inf).max(axis=1)
            self.alike.add(np.where(np.isinf(nearest), np.nan, nearest), side)
