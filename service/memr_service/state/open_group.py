"""A group that is still being sampled under the `snapshot` barrier, and what its items read (L11)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from memr_service.memory import View


@dataclass(frozen=True)
class FrozenRead:
    """What a prompt reads at one position, kept so that items that come later read the same.

    `total` (d,) and `count` are the sum and number of the successes read, `failures` (m, d) the failures; `waits` is
    what explore still waited for then (0: it was on). `units` (m,): how many completions each failure stands for, where
    the run merges them.
    """

    total: np.ndarray
    count: int
    failures: np.ndarray
    waits: int
    units: np.ndarray | None = None

    @property
    def failed(self) -> int:
        """How many failures are read."""
        return len(self.failures) if self.units is None else int(self.units.sum())


@dataclass
class OpenGroup:
    """A group whose items have been answered but not stored: columns of those items, and what they read."""

    key: bytes
    prompt: np.ndarray
    pin: FrozenRead
    stepless: bool
    """Whether its first item named no step."""
    completions: list[np.ndarray] = field(default_factory=list)
    outcomes: list[float] = field(default_factory=list)
    serials: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.serials)

    def freeze(self) -> dict[str, np.ndarray]:
        """The group as named arrays."""
        units = {} if self.pin.units is None else {"units": self.pin.units}
        return {
            "key": np.frombuffer(self.key, np.uint8),
            "prompt": self.prompt,
            "total": self.pin.total,
            "failures": self.pin.failures,
            "numbers": np.array([self.pin.count, self.pin.waits, self.stepless], np.int64),
            "completions": np.stack(self.completions),
            "outcomes": np.array(self.outcomes),
            "serials": np.array(self.serials, np.int64),
            **units,
        }

    @classmethod
    def restore(cls, frozen: dict[str, np.ndarray]) -> OpenGroup:
        """The group `freeze` saw."""
        count, waits, stepless = frozen["numbers"].tolist()
        return cls(
            key=frozen["key"].tobytes(),
            prompt=frozen["prompt"],
            pin=FrozenRead(frozen["total"], count, frozen["failures"], waits, frozen.get("units")),
            stepless=bool(stepless),
            completions=list(frozen["completions"]),
            outcomes=frozen["outcomes"].tolist(),
            serials=frozen["serials"].tolist(),
        )


def pin(
    success: View, failure: View, key: bytes, prompt: np.ndarray, k: int, least: float | None, waits: int
) -> FrozenRead:
    """What a prompt (d,) reads in both memories as they are."""
    won, lost = (view.read([key], prompt[None], np.zeros(1, np.int64), k, least)[0] for view in (success, failure))
    total = np.sum([np.zeros(len(prompt)), *(success.sum(number) for number in won.prompts)], axis=0)
    return FrozenRead(total, int(won.counts[0]), failure.vectors(lost.entries), waits, lost.units)
