"""Vectors by row number, in blocks that never move."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from weakref import WeakSet

import numpy as np

BLOCK = 4096
"""Rows per block: 6 MiB of float32 at d = 384, copied in about a millisecond when it must be."""

_SHIFT = BLOCK.bit_length() - 1


class VectorBlocks:
    """A growing array of vectors, d numbers each, float32 or float16.

    Blocks are allocated whole but touched row by row, so the operating system gives memory only to rows in use.
    `freeze` returns the blocks without copying; a block is copied when it is written to afterwards.
    """

    def __init__(self, dimension: int, dtype: str = "float32") -> None:
        self.dimension = dimension
        self.dtype = np.dtype(dtype)
        self._blocks: list[np.ndarray] = []
        self._frozen: set[int] = set()
        self._shared: WeakSet[VectorBlocks] = WeakSet()

    def write(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Put `vectors` (m, d) at `rows` (m,); a row that is named twice gets the last vector."""
        if not len(rows):
            return
        self._grow((int(rows.max()) >> _SHIFT) + 1)
        for number, here, within in _by_block(rows):
            self._writable(number)[within] = vectors[here]

    def put(self, row: int, vector: np.ndarray) -> None:
        """Put one vector (d,) at `row`: the same as `write`, but quicker."""
        number = row >> _SHIFT
        self._grow(number + 1)
        self._writable(number)[row & (BLOCK - 1)] = vector

    def take(self, rows: np.ndarray) -> np.ndarray:
        """A float32 copy (m, d) of the vectors at `rows` (m,); ascending rows are the quickest."""
        vectors = np.empty((len(rows), self.dimension), self.dtype)
        numbers = rows >> _SHIFT
        step = numbers[1:] - numbers[:-1]
        if (step < 0).any():
            order = np.argsort(rows)
            vectors[order] = self.take(rows[order])
            return vectors.astype(np.float32, copy=False)
        cuts = [0, *(np.flatnonzero(step) + 1).tolist(), len(rows)]
        for start, stop in pairwise(cuts if len(rows) else []):
            block, within = self._blocks[int(numbers[start])], rows[start:stop] & (BLOCK - 1)
            block.take(within, axis=0, out=vectors[start:stop], mode="clip")  # no row is beyond its block
        return vectors.astype(np.float32, copy=False)

    def slices(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """Rows start..stop-1 as (first row, read-only slice of a block), in order, without copying."""
        while start < stop:
            number, within = divmod(start, BLOCK)
            upto = min(stop, (number + 1) * BLOCK)
            block = self._blocks[number][within : within + upto - start]
            block.flags.writeable = False
            yield start, block
            start = upto

    def by_block(self, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Vectors at `rows` (m,), ascending, block by block: their positions in `rows`, and float32 vectors to read.

        They are copied only where they are float16 or have gaps between them.
        """
        for number in np.unique(rows >> _SHIFT).tolist():
            here = slice(*np.searchsorted(rows, [number << _SHIFT, (number + 1) << _SHIFT]).tolist())
            within = rows[here] & (BLOCK - 1)
            first, last = int(within[0]), int(within[-1])
            without_gaps = last - first == len(within) - 1
            vectors = self._blocks[number][first : last + 1] if without_gaps else self._blocks[number][within]
            vectors = vectors.astype(np.float32, copy=False)
            vectors.flags.writeable = False
            yield here, vectors

    def freeze(self, used: int) -> list[np.ndarray]:
        """The blocks of the first `used` rows as they are now; they do not change until `thaw`."""
        self._frozen = set(range(len(self._blocks)))
        return [block for _, block in self.slices(0, used)]

    def thaw(self) -> None:
        """Allow the frozen blocks to change: nobody reads them any more."""
        self._frozen.clear()

    def shared(self) -> VectorBlocks:
        """The vectors as they are now, for another thread to read. A block that is written to meanwhile is copied."""
        blocks = VectorBlocks(self.dimension, self.dtype.name)
        blocks._blocks = self._blocks.copy()
        self._shared.add(blocks)
        return blocks

    def restore(self, blocks: list[np.ndarray]) -> None:
        """Become what `freeze` saw. The last block may end after its last row in use.

        Whole blocks that may be written to are not copied: they were read from a file, and nobody else has them.
        """
        self._blocks = []
        self._frozen.clear()
        self._grow(len(blocks))
        for number, block in enumerate(blocks):
            if len(block) == BLOCK and block.flags.writeable and block.dtype == self.dtype:
                self._blocks[number] = block
            else:
                self._blocks[number][: len(block)] = block

    def _grow(self, blocks: int) -> None:
        while len(self._blocks) < blocks:
            self._blocks.append(np.empty((BLOCK, self.dimension), self.dtype))

    def _writable(self, number: int) -> np.ndarray:
        block = self._blocks[number]
        if number in self._frozen or any(
            block is one for other in self._shared for one in other._blocks[number : number + 1]
        ):
            block = self._blocks[number] = block.copy()
            self._frozen.discard(number)
        return block


def _by_block(rows: np.ndarray) -> Iterator[tuple[int, slice | np.ndarray, np.ndarray]]:
    """Each block that holds some of the rows (m,): its number, which of the rows they are, and their rows within it."""
    numbers = rows >> _SHIFT
    involved = set(numbers.tolist())
    for number in involved:
        here = numbers == number if len(involved) > 1 else slice(None)
        yield number, here, rows[here] & (BLOCK - 1)
