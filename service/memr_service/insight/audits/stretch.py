"""A stretch of a run's completions as columns, from which the diagnostics are computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from memr_service.state.record import Record

HUGE = 1e100
"""Outcomes, rewards and their parts are cut to +-HUGE, so that sums of their squares do not overflow."""


@dataclass(frozen=True)
class StretchColumns:
    """The n items of some consecutive records. Embeddings are (n, d), everything else (n,)."""

    first_position: int
    position: int
    first_step: int | None
    step: int | None
    keys: list[bytes]
    """Identity of each item's prompt."""
    prompts: np.ndarray
    completions: np.ndarray
    outcomes: np.ndarray
    group: np.ndarray
    """Number of each item's group, from 0 without gaps. A group does not cross records."""
    lengths: np.ndarray
    """Characters of the encoded text."""
    truncated: np.ndarray
    """1 where the trainer cut the completion, 0 where it did not, NaN where it did not say."""
    warm: np.ndarray
    """Whether no component was in warm-up (bool)."""
    rewards: np.ndarray
    raw: dict[str, np.ndarray]
    scaled: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, records: Sequence[Record]) -> StretchColumns | None:
        """The items of records in order; None if there are none."""
        records = [record for record in records if len(record.batch)]
        if not records:
            return None
        groups, begin = [], 0
        for record in records:
            groups.append(begin + np.unique(record.batch.group, return_inverse=True)[1])
            begin = int(groups[-1].max()) + 1
        steps = [record.batch.step for record in records if record.batch.step is not None]
        batches, effects = [record.scored for record in records], [record.effects for record in records]
        cut = [np.full(len(one), np.nan) if one.truncated is None else one.truncated for one in batches]
        return cls(
            first_position=records[0].position,
            position=records[-1].position,
            first_step=steps[0] if steps else None,
            step=steps[-1] if steps else None,
            keys=[key for one in batches for key in one.keys],
            prompts=np.concatenate([one.prompts[one.prompt_of] for one in batches]),
            completions=np.concatenate([one.completions for one in batches]),
            outcomes=_column(one.outcomes for one in batches),
            group=np.concatenate(groups),
            lengths=np.concatenate([one.lengths for one in batches]),
            truncated=np.concatenate(cut).astype(np.float64),
            warm=np.concatenate([np.full(len(one.rewards), not any(one.warmup.values())) for one in effects]),
            rewards=_column(one.rewards for one in effects),
            raw={name: _column(one.raw[name] for one in effects) for name in effects[0].raw},
            scaled={name: _column(one.scaled[name] for one in effects) for name in effects[0].scaled},
        )


def _column(parts: Iterable[np.ndarray]) -> np.ndarray:
    """One column of several, cut to +-HUGE."""
    return np.asarray(np.clip(np.concatenate(list(parts)), -HUGE, HUGE))
