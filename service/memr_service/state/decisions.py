"""Decisions: what people have found out about references of the data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from memr_service.state.packed import packed, unpacked
from memr_service.state.pass_rates import KEY_BYTES, TEXT_BYTES


@dataclass(frozen=True)
class Decision:
    """What was found out about one prompt's reference."""

    key: bytes
    text: bytes
    """SHA-256 of the prompt's whole text; zeros if that is not known."""
    name: str | None
    """The prompt's id."""
    reference: str | None
    """The right answer; None: the data set's is right."""


class Decisions:
    """Decisions by prompt. They do not change."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self._all = decisions
        self._by_key = {one.key: one for one in decisions}
        self._by_text = {one.text: one for one in decisions if any(one.text)}

    @classmethod
    def of(cls, packed: np.ndarray) -> Decisions:
        """Those that `arrays` packed."""
        return cls([Decision(*row) for row in unpacked(packed)])

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._all)

    def about(self, key: bytes, text: bytes) -> Decision | None:
        """The decision about a prompt, known by its identity or its text; None if there is none."""
        found = self._by_key.get(key)
        if found is not None and any(found.text) and any(text) and found.text != text:
            found = None  # another prompt of that id
        return found or self._by_text.get(text)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of them as named arrays, of which `Decisions.of(**arrays)` makes them again."""
        return {"packed": packed([(one.key, one.text, one.name, one.reference) for one in self._all])}

    def digest(self) -> bytes:
        """The bytes that a digest of the state covers; none if there are no decisions."""
        return self.arrays()["packed"].tobytes() if self._all else b""


def check(array: np.ndarray) -> None:
    """Check what somebody else says that `Decisions.arrays` made.

    Raises:
        ValueError: `Decisions.of` could not read it.
    """
    try:
        fits = all(_is_decision(*row) for row in unpacked(array))
    except TypeError as error:
        raise ValueError("not decisions") from error
    if not fits:
        raise ValueError("not decisions")


def _is_decision(key: Any, text: Any, name: Any, reference: Any) -> bool:
    sizes = ((key, KEY_BYTES), (text, TEXT_BYTES))
    texts = isinstance(name, str | None) and isinstance(reference, str | None)
    return texts and all(isinstance(one, bytes) and len(one) == size for one, size in sizes)
