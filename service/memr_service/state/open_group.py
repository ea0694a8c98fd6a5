"""A group that is still being sampled under the `snapshot` barrier, and what its items read (L11)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgpack
import numpy as np

from memr_service.memory import View
from memr_service.memory.reading import read


@dataclass(frozen=True)
class FrozenRead:
    """What a prompt reads at one position, kept so that items that come later read the same.

    `total` (d,) and `count`: sum and number of the successes. `failures` (m, d). `warmup_left`: what explore still
    waited for (0: it was on). `units` (m,): how many completions each failure stands for, where the run merges them.
    """

    total: np.ndarray
    count: int
    failures: np.ndarray
    warmup_left: int
    units: np.ndarray | None = None

    @property
    def failed(self) -> int:
        """How many failures are read."""
        return len(self.failures) if self.units is None else int(self.units.sum())


class Overruled(NamedTuple):
    """What takes the place of a prompt's reference."""

    answer: str
    """The favoured answer."""
    why: str
    """The reason in words."""


@dataclass
class OpenGroup:
    """A group whose items have been answered but not stored: columns of those items, and what they read."""

    key: bytes
    prompt: np.ndarray
    read: FrozenRead
    stepless: bool
    """Whether its first item named no step."""
    completions: list[np.ndarray] = field(default_factory=list)
    outcomes: list[float] = field(default_factory=list)
    serials: list[int] = field(default_factory=list)
    overruled: Overruled | None = None
    """What took the place of its prompt's reference when its first item came."""
    masked: bool = False
    """Whether nothing is to be learned from it."""

    def __len__(self) -> int:
        return len(self.serials)

    def freeze(self) -> dict[str, np.ndarray]:
        """The group as named arrays."""
        optional = {} if self.read.units is None else {"units": self.read.units}
        if self.overruled is not None:
            packed = msgpack.packb([*self.overruled, self.masked])
            optional["overruled"] = np.frombuffer(packed, np.uint8)
        return {
            "key": np.frombuffer(self.key, np.uint8),
            "prompt": self.prompt,
            "total": self.read.total,
            "failures": self.read.failures,
            "numbers": np.array([self.read.count, self.read.warmup_left, self.stepless], np.int64),
            "completions": np.stack(self.completions),
            "outcomes": np.array(self.outcomes),
            "serials": np.array(self.serials, np.int64),
            **optional,
        }

    @classmethod
    def restore(cls, frozen: dict[str, np.ndarray]) -> OpenGroup:
        """The group that `freeze` saw."""
        count, warmup_left, stepless = frozen["numbers"].tolist()
        overruled, masked = None, False
        if "overruled" in frozen:
            answer, why, masked = msgpack.unpackb(frozen["overruled"].tobytes())
            overruled = Overruled(answer, why)
        return cls(
            key=frozen["key"].tobytes(),
            prompt=frozen["prompt"],
            read=FrozenRead(frozen["total"], count, frozen["failures"], warmup_left, frozen.get("units")),
            stepless=bool(stepless),
            completions=list(frozen["completions"]),
            outcomes=frozen["outcomes"].tolist(),
            serials=frozen["serials"].tolist(),
            overruled=overruled,
            masked=masked,
        )


def freeze_read(
    success: View,
    failure: View,
    key: bytes,
    prompt: np.ndarray,
    k: int,
    min_similarity: float | None,
    warmup_left: int,
) -> FrozenRead:
    """What a prompt (d,) reads in both memories as they are."""
    successes, failures = (
        read(view, [key], prompt[None], np.zeros(1, np.int64), k, min_similarity)[0] for view in (success, failure)
    )
    total = np.sum([np.zeros(len(prompt)), *(success.sum(number) for number in successes.prompts)], axis=0)
    count = int(successes.counts[0])
    return FrozenRead(total, count, failure.vectors(failures.entries), warmup_left, failures.units)
