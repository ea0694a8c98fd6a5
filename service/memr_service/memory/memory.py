"""One memory: at most N prompts, the oldest leaving first, and at most L completions under each (L3)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np

from memr_service.memory.completion_index import CompletionIndex
from memr_service.memory.grid import in_grid, on_grid
from memr_service.memory.index import MARGINS, GraphSizes
from memr_service.memory.prompt_index import PromptIndex
from memr_service.memory.vector_blocks import VectorBlocks
from memr_service.memory.writes import Writes

KEY_BYTES = 16
CACHED_FROM = 16
"""The sum of a prompt is kept from so many completions on: adding up fewer costs less than the 3 kB of a sum."""
TOGETHER = 64
"""Prompts whose sums are not kept: their completions are added up for so many prompts at a time."""


class Memory:
    """Prompts by identity, their embeddings, and the completions under each.

    Attributes:
        number: identity (16 bytes) -> the prompt's number, oldest prompt first.
        entries: prompt number -> rows of its completions, oldest first.
        serials: row -> serial number of the completion stored there (counted over all completions of the run).
        outcomes: row -> the completion's outcome.
        prompts: the embeddings of the prompts, to find the nearest.
        index: all completions by serial number, to find the nearest; None unless `indexed`.
    """

    def __init__(
        self,
        dimension: int,
        max_prompts: int,
        max_completions: int,
        storage: str = "float32",
        *,
        indexed: bool = False,
        graph_sizes: GraphSizes | None = None,
    ) -> None:
        self.max_prompts = max_prompts
        self.max_completions = max_completions
        self.number: dict[bytes, int] = {}
        self.entries: dict[int, array[int]] = {}
        self.prompts = PromptIndex(dimension, max_prompts, MARGINS[storage], graph_sizes)
        self.completions = VectorBlocks(dimension, storage)
        self.serials = np.empty(0, np.int64)
        self.outcomes = np.empty(0)
        self.index = CompletionIndex(self.completions, MARGINS[storage], graph_sizes) if indexed else None
        self._key: dict[int, bytes] = {}
        """Prompt number -> identity. Finding the oldest in `number` would mean to step over all keys that have left."""
        self._free: list[int] = []
        self._used = 0
        self._sums: dict[int, np.ndarray] = {}
        self._total: np.ndarray | None = None

    @property
    def completion_count(self) -> int:
        """Completions stored."""
        return self._used - len(self._free)

    def sums(self, prompts: Iterable[int]) -> dict[int, np.ndarray]:
        """Sum (d,) of each prompt's completions, exact (see `grid`); not to be changed by the caller."""
        totals: dict[int, np.ndarray] = {}
        few: list[int] = []
        for prompt in prompts:
            if len(self.entries[prompt]) < CACHED_FROM:
                few.append(prompt)
                continue
            if prompt not in self._sums:
                self._sums[prompt] = on_grid(self.completions.take(np.array(self.entries[prompt]))).sum(axis=0)
            totals[prompt] = self._sums[prompt]
        for first in range(0, len(few), TOGETHER):
            entries = [self.entries[prompt] for prompt in few[first : first + TOGETHER]]
            exact = on_grid(self.completions.take(np.concatenate(entries)))
            ends = np.cumsum([len(one) for one in entries]).tolist()
            for prompt, start, stop in zip(few[first:], [0, *ends], ends, strict=False):
                totals[prompt] = exact[start:stop].sum(axis=0)
        return totals

    def live_rows(self) -> np.ndarray:
        """Rows that hold a completion now (m,)."""
        held = np.ones(self._used, bool)
        held[self._free] = False
        return np.flatnonzero(held)

    def total(self) -> np.ndarray:
        """Sum (d,) of all completions, in whole multiples of the grid (int64, so exact for any number of them)."""
        if self._total is None:
            self._total = np.zeros(self.completions.dimension, np.int64)
            for prompt in self.entries:
                self._total += in_grid(self.completions.take(np.array(self.entries[prompt]))).sum(axis=0)
        return self._total

    def apply(
        self,
        writes: Writes,
        keys: list[bytes],
        prompts: np.ndarray | Sequence[np.ndarray],
        completions: np.ndarray,
        serials: np.ndarray,
        outcomes: np.ndarray,
    ) -> None:
        """Do what a record says was written. Nothing is decided here: the record says everything.

        Args:
            keys: identity of each item's prompt (n).
            prompts: embedding of each item's prompt (n, d).
            completions: (n, d).
            serials: serial number of each item (n,).
            outcomes: outcome of each item (n,).
        """
        came: dict[int, tuple[int, int]] = {}  # row -> prompt and item of the completion that is there in the end
        left: list[tuple[int, int]] = []  # prompt and row of each completion that was stored before and leaves
        columns = (writes.prompt, writes.item, writes.drops_prompt, writes.drops_entry)
        for prompt, together in groupby(zip(*(column.tolist() for column in columns), strict=True), itemgetter(0)):
            _, items, drops_prompt, drops_entry = zip(*together, strict=True)
            gone = self._drop_first_prompt() if drops_prompt[0] else []
            if prompt == self.prompts.tail:
                self._add_prompt(keys[items[0]], prompts[items[0]])
            entries, drops = self.entries[prompt], sum(drops_entry)
            oldest = [(prompt, row) for row in entries[:drops]]
            del entries[:drops]
            self._free += [row for _, row in reversed(oldest)]  # reversed: the prompt's new ones get the same rows
            left += [one for one in (*gone, *oldest) if came.pop(one[1], None) is None]
            stay = items[max(0, drops - len(oldest)) :]
            rows = [self._allocate() for _ in stay]
            entries.extend(rows)
            came |= {row: (prompt, item) for row, item in zip(rows, stay, strict=True)}
        self._write(came, left, completions, serials, outcomes)

    def _write(
        self,
        came: dict[int, tuple[int, int]],
        left: list[tuple[int, int]],
        completions: np.ndarray,
        serials: np.ndarray,
        outcomes: np.ndarray,
    ) -> None:
        """Write what came into its rows, and update everything derived from the rows (see `apply`)."""
        rows, items = np.array([*came], np.int64), np.array([item for _, item in came.values()], np.int64)
        gone, vectors = np.array([row for _, row in left], np.int64), completions[items]
        if self._sums or self._total is not None:
            self._move([prompt for prompt, _ in left], self.completions.take(gone), -1)
            self._move([prompt for prompt, _ in came.values()], vectors, 1)
        if self.index is not None:
            self.index.drop(self.serials[gone])
            self.index.append(serials[items], rows)
        self.serials[rows], self.outcomes[rows] = serials[items], outcomes[items]
        self.completions.write(rows, vectors)

    def _move(self, prompts: list[int], vectors: np.ndarray, sign: int) -> None:
        """Add vectors (m, d) to the sums that are kept, or subtract them (`sign` -1); `prompts` (m) are theirs."""
        if self._total is not None:
            self._total = self._total + sign * in_grid(vectors).sum(axis=0)
        exact, start = on_grid(vectors), 0
        for prompt, together in groupby(prompts):
            stop = start + sum(1 for _ in together)
            if prompt in self._sums:
                self._sums[prompt] = self._sums[prompt] + sign * exact[start:stop].sum(axis=0)
            start = stop

    def freeze(self) -> dict[str, np.ndarray]:
        """Everything this memory holds, as named arrays that do not change until `thaw`."""
        index, rows = self.prompts, self.entries.values()
        frozen = {
            "keys": np.frombuffer(b"".join(self.number), np.uint8).reshape(-1, KEY_BYTES),
            "range": np.array([index.head, index.tail, self._used]),
            "counts": np.fromiter(map(len, rows), np.int64, len(rows)),
            "rows": np.frombuffer(b"".join(rows), np.int64),  # looked at one by one, ten million would take a second
            "serials": self.serials[: self._used].copy(),
            "outcomes": self.outcomes[: self._used].copy(),
            "free": np.array(self._free, np.int64),
        }
        prompts = index.vectors.freeze(min(index.tail, index.capacity))
        completions = self.completions.freeze(self._used)
        frozen |= {f"prompts/{number}": block for number, block in enumerate(prompts)}
        return frozen | {f"completions/{number}": block for number, block in enumerate(completions)}

    def thaw(self) -> None:
        """Allow the arrays that `freeze` returned to change: nobody reads them any more."""
        self.prompts.vectors.thaw()
        self.completions.thaw()

    def restore(self, frozen: dict[str, np.ndarray]) -> None:
        """Become what `freeze` saw, without graphs: these are swapped in afterwards."""
        head, tail, self._used = frozen["range"].tolist()
        self.prompts.head, self.prompts.tail = head, tail
        keys = frozen["keys"].tobytes()
        self.number = {keys[KEY_BYTES * at : KEY_BYTES * (at + 1)]: head + at for at in range(tail - head)}
        self._key = {prompt: key for key, prompt in self.number.items()}
        packed = frozen["rows"].tobytes()
        ends = np.cumsum(frozen["rows"].itemsize * frozen["counts"]).tolist()
        self.entries = {
            head + at: array("q", packed[start:end])
            for at, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
        }
        self.serials, self.outcomes = frozen["serials"].copy(), frozen["outcomes"].copy()
        self._free = frozen["free"].tolist()
        self._sums, self._total = {}, None
        self.prompts.vectors.restore(_blocks(frozen, "prompts/"))
        self.completions.restore(_blocks(frozen, "completions/"))
        if self.index is not None:
            live = self.live_rows()
            rows = live[np.argsort(self.serials[live])]
            self.index.append(self.serials[rows], rows)

    def contents(self) -> Iterator[bytes]:
        """Everything stored, in an order that depends on nothing else: for the run's digest."""
        for key, prompt in self.number.items():
            yield key
            yield self.prompts.take(np.array([prompt])).tobytes()
            yield self.completions.take(np.array(self.entries[prompt])).tobytes()

    def _add_prompt(self, key: bytes, vector: np.ndarray) -> None:
        prompt = self.prompts.tail
        self.prompts.append(vector)
        self.number[key] = prompt
        self._key[prompt] = key
        self.entries[prompt] = array("q")

    def _drop_first_prompt(self) -> list[tuple[int, int]]:
        """Remove the oldest prompt; return its number with the row of each of its completions."""
        prompt = self.prompts.head
        del self.number[self._key.pop(prompt)]
        rows = self.entries.pop(prompt).tolist()
        self._free.extend(rows)
        self._sums.pop(prompt, None)
        self.prompts.drop_first()
        return [(prompt, row) for row in rows]

    def _allocate(self) -> int:
        if self._free:
            return self._free.pop()
        if self._used == len(self.serials):
            more = max(1024, self._used // 8)
            self.serials = np.concatenate([self.serials, np.empty(more, np.int64)])
            self.outcomes = np.concatenate([self.outcomes, np.empty(more)])
        self._used += 1
        return self._used - 1


def _blocks(frozen: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    count = sum(name.startswith(prefix) for name in frozen)
    return [frozen[f"{prefix}{number}"] for number in range(count)]
