"""A record: one accepted logical request, with its inputs and its effects.

state = fold(apply, records) uses the effects; a replay uses the inputs. `codec` makes bytes of a record.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from memr_service.memory import Writes

GENESIS = bytes(32)
"""The chain of a run without records."""


@dataclass(frozen=True)
class Batch:
    """The inputs of a logical request of n items, as they are scored.

    `keys` (n): identity of each item's prompt. `prompts` (u, d): the distinct prompt embeddings; `prompt_of` (n,): the
    row of each item's. `completions` (n, d). `outcomes` (n,). `group` (n,): number of each item's group in the batch.
    """

    keys: list[bytes]
    prompts: np.ndarray
    prompt_of: np.ndarray
    completions: np.ndarray
    outcomes: np.ndarray
    group: np.ndarray
    lengths: np.ndarray
    """Characters of each completion's encoded text (n,)."""
    step: int | None = None
    group_names: list[bytes] = field(default_factory=list)
    """The groups' ids, by number."""
    answers: list[str | None] | None = None
    labels: list[str | None] | None = None
    truncated: np.ndarray | None = None
    repeated: np.ndarray | None = None
    """Share of each completion that repeats an earlier part of it (n,), where a guard needs it."""
    copied: np.ndarray | None = None
    """Share of each completion that also stands in its prompt (n,), where a guard needs it."""
    foreign: np.ndarray | None = None
    """Bytes of the longest stretch of each completion that its prompt and siblings have nothing of (n,), where a guard
    needs it."""
    names_answer: np.ndarray | None = None
    """Whether each completion names an answer of its own (n,) bool, where a guard needs it."""
    sent: np.ndarray | None = None
    """Whether each item's embeddings were sent by the caller (n,) bool, where a guard needs it; None: none were."""
    late: np.ndarray | None = None
    """Whether each item came after its group had been answered without it (n,) bool; None: none did."""
    equal_spread: float | None = None
    """What the request sent in place of the config's `equal_spread`."""
    texts: np.ndarray | None = None
    """SHA-256 of the whole text of each item's prompt (n, 32); None in runs without pass rates."""
    prompt_ids: list[str | None] | None = None
    """The id of each item's prompt, in runs that count answers; None: none were sent."""
    references: list[str | None] | None = None
    """The right answer of each item's prompt, as the data set has it (n)."""
    turns_left: np.ndarray | None = None
    """How many turns of its completion follow each item (n,); None: the items are whole completions. The last turn is
    stored under its prompt's identity, an earlier one under that and its place (`turn_key`)."""
    masked: np.ndarray | None = None
    """Items from which nothing is to be learned (n,) bool; None: none. It follows from `Effects.repair` and is never
    recorded."""
    prior: dict[str, np.ndarray] | None = None
    """What earlier runs knew of prompts when this run was created: the arguments of `PassRates.start_from`."""
    prior_answers: dict[str, np.ndarray] | None = None
    """The answers that they knew: the arguments of `Answers.start_from`."""
    decisions: dict[str, np.ndarray] | None = None
    """The decisions that the run has from now on: the arguments of `Decisions.of`."""
    pool: dict[str, np.ndarray] | None = None
    """The pool that the run has from now on: the fields of `Pool`; without prompts: none."""
    forget: dict[str, np.ndarray] | None = None
    """Prompts of which nothing is known from now on: the arguments of `PassRates.forget`. A batch with one of the last
    five fields has no items."""

    @classmethod
    def empty(cls, dimension: int) -> Batch:
        """A batch without items."""
        none, no_rows = np.empty(0, "<i4"), np.empty((0, dimension), np.float32)
        return cls([], no_rows, none, no_rows, np.empty(0), none, none)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def sets_up(self) -> bool:
        """Whether it says what a run knows, in place of completions."""
        what = self.prior, self.prior_answers, self.decisions, self.pool, self.forget
        return any(one is not None for one in what)

    @property
    def completion_of(self) -> np.ndarray:
        """Number of each item's completion (n,): its own, if items are whole completions."""
        if self.turns_left is None:
            return np.arange(len(self))
        ends = (self.turns_left == 0).astype(np.int64)
        return np.asarray(np.cumsum(ends) - ends)

    @property
    def unmasked(self) -> np.ndarray:
        """Whether something is learned from each item (n,) bool."""
        return np.ones(len(self), bool) if self.masked is None else ~self.masked

    @property
    def counted(self) -> np.ndarray | None:
        """Items that count in pass rates (m,): none that is masked, of a completion's turns the last; None: all."""
        if self.turns_left is None and self.masked is None:
            return None
        return np.flatnonzero(self.unmasked if self.turns_left is None else self.unmasked & (self.turns_left == 0))

    @property
    def prompt_rows(self) -> list[np.ndarray]:
        """The embedding of each item's prompt (n), without copying any."""
        rows = [*self.prompts]
        return [rows[row] for row in self.prompt_of.tolist()]

    @property
    def dimension(self) -> int:
        """d."""
        return int(self.completions.shape[1])


@dataclass(frozen=True)
class IndexChange:
    """A graph over the numbers [start, stop) of a vector index was begun, or taken into use, at this record."""

    index: str
    """Name of the index: a memory's own name for its prompts, NAME-completions for its completions."""
    change: str
    """"build" or "swap"."""
    start: int
    stop: int


@dataclass(frozen=True)
class Repairs:
    """The outcomes that count in place of those sent, for n items."""

    outcomes: np.ndarray
    """The outcomes that count (n,)."""
    answers: list[str | None]
    """The answer that is favoured over the reference (n); None: the outcome counts as it was sent."""
    why: list[str | None]
    """The reason in words (n); None: the outcome counts as it was sent."""
    masks: bool
    """Whether nothing is learned from repaired items; otherwise they were judged by the favoured answer."""

    @property
    def masked(self) -> np.ndarray | None:
        """Items from which nothing is to be learned (n,) bool; None: none."""
        masked = np.array([self.masks and one is not None for one in self.why], bool)
        return masked if masked.any() else None

    def of(self, batch: Batch) -> Batch:
        """A batch with the outcomes that count."""
        return replace(batch, outcomes=self.outcomes, masked=self.masked)


@dataclass(frozen=True)
class Effects:
    """What a record did. Columns have n items; a raw value is NaN where the item has none."""

    success: Writes
    failure: Writes
    raw: dict[str, np.ndarray]
    scaled: dict[str, np.ndarray]
    rewards: np.ndarray
    support: dict[str, np.ndarray]
    warmup: dict[str, int]
    sizes: dict[str, list[int]]
    """Memory -> [prompts, completions] after this record."""
    rejected: list[list[str]] = field(default_factory=list)
    """For each item "component:reason" for every rejection by a guard; empty if no item was rejected."""
    warnings: list[str] = field(default_factory=list)
    index_changes: list[IndexChange] = field(default_factory=list)
    closes: list[bytes] = field(default_factory=list)
    """Groups under the `snapshot` barrier whose items are written here. `Writes.item` counts the batch's own items
    first, then those that earlier records left open, in the order of this list."""
    left_open: np.ndarray | None = None
    """Items of the batch that are to be written with the rest of their group."""
    baseline: np.ndarray | None = None
    """Share of right completions of each item's prompt before this record (n,), NaN where none is known; None in runs
    without pass rates."""
    repair: Repairs | None = None
    """The outcomes that count; None in runs that do not repair."""

    def scored(self, batch: Batch) -> Batch:
        """The batch whose effects these are, with the outcomes that count."""
        return batch if self.repair is None else self.repair.of(batch)


@dataclass(frozen=True)
class Seat:
    """One request's part in a record: its id, the digest of its body, and its items of the batch (None: all)."""

    request_id: str | None = None
    body_digest: bytes = b""
    items: np.ndarray | None = None


@dataclass(frozen=True)
class Record:
    """One step of a run's history."""

    branch: int
    position: int
    batch: Batch
    effects: Effects
    first_serial: int
    """Serial number of item 0. Serial numbers count all completions that a run ever took."""
    parent: bytes
    chain: bytes = b""
    seats: list[Seat] = field(default_factory=list)
    """The requests it answered."""
    at: float = 0.0
    """Unix time of the commit."""
    timing_ms: dict[str, float] = field(default_factory=dict)

    @property
    def scored(self) -> Batch:
        """The batch with the outcomes that count."""
        return self.effects.scored(self.batch)

    @property
    def where(self) -> tuple[int, int]:
        """Branch and position."""
        return self.branch, self.position
