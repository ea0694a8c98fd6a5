"""A pool: the prompts that a run may plan from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memr_service.state.pass_rates import KEY_BYTES, TEXT_BYTES

MOST_IN_POOL = 1_000_000
"""Most prompts in a pool."""


@dataclass(frozen=True, eq=False)
class Pool:
    """m prompts by id.

    `names`: the ids in UTF-8, one after the other (bytes). `ends`: where each ends (m,). `keys`: the prompts'
    identities (m, 16). `texts`: SHA-256 of their whole texts (m, 32), or (0, 32) if they are not known.
    """

    names: np.ndarray
    ends: np.ndarray
    keys: np.ndarray
    texts: np.ndarray

    @classmethod
    def of(cls, ids: Sequence[str], keys: Sequence[bytes], texts: Sequence[bytes]) -> Pool:
        """A pool of prompts with these ids, identities, and SHA-256 of their texts (none: not known)."""
        names = [one.encode() for one in ids]
        return cls(
            names=np.frombuffer(b"".join(names), np.uint8),
            ends=np.cumsum([len(one) for one in names], dtype=np.int64),
            keys=np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES),
            texts=np.frombuffer(b"".join(texts), np.uint8).reshape(-1, TEXT_BYTES),
        )

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, number: int) -> str:
        """The id of a prompt, by its number from 0."""
        start = int(self.ends[number - 1]) if number else 0
        return self.names[start : int(self.ends[number])].tobytes().decode()

    def arrays(self) -> dict[str, np.ndarray]:
        """The pool as named arrays, of which `Pool(**arrays)` makes it again."""
        return dict(vars(self))

    def digest(self) -> str:
        """SHA-256 (hex) of the ids in order, with their texts' digests."""
        digest = hashlib.sha256(self.ends.astype("<i8").tobytes())
        for array in (self.names, self.texts):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
