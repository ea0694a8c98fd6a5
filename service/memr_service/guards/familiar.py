"""What a text has in common, word for word, with its prompt and with its siblings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

REACH = 8
"""Bytes that must agree: a word and a half of English, three Chinese characters, a short sum."""
COMPANY = 2
"""Siblings that it takes to say what is foreign to a group."""


def copied_share(text: str, prompt: str) -> float:
    """Share of a text's 8-byte sequences (UTF-8, one at every byte) that stand in its prompt, in [0, 1]."""
    own = _sequences(text)
    return float(np.isin(own, _sequences(prompt)).mean()) if len(own) else 0.0


def foreign_stretches(texts: Sequence[str], prompts: Sequence[str], group: np.ndarray) -> np.ndarray:
    """The longest stretch of each text, in bytes, that has nothing in common with its prompt or any sibling (n,).

    A stretch is so many places in a row at which no 8-byte sequence begins that the prompt or another text of the group
    has as well. Who attempts a question keeps naming what it is about, as do those who attempt it with him; what is
    put in front, behind or between to please the encoder does not. A group that drifts together vouches for itself: no
    comparison within it can tell.

    Args:
        texts, prompts: of n items. group: number of each item's group (n,).

    Returns:
        (n,) integers; 0 in groups of fewer than three, which have too little to compare.
    """
    longest = np.zeros(len(texts), np.int64)
    for number in np.unique(group):
        members = np.flatnonzero(group == number).tolist()
        if len(members) > COMPANY:
            longest[members] = _foreign([texts[item] for item in members], {prompts[item] for item in members})
    return longest


def _foreign(texts: list[str], prompts: set[str]) -> list[int]:
    """Of the texts of one group."""
    said = [_sequences(text) for text in (*texts, *prompts)]
    everything = np.concatenate(said)
    speaker = np.repeat(np.arange(len(said)), [len(one) for one in said])
    order = np.argsort(everything)
    ordered, by = everything[order], speaker[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)])
    shared = np.minimum.reduceat(by, begins) < np.maximum.reduceat(by, begins) if len(begins) else np.empty(0, bool)
    familiar = np.empty(len(everything), bool)
    familiar[order] = np.repeat(shared, np.diff([*begins, len(ordered)]))
    ends = np.cumsum([len(one) for one in said])[: len(texts)]
    return [_longest(familiar[end - len(one) : end]) for one, end in zip(said, ends.tolist(), strict=False)]


def _longest(familiar: np.ndarray) -> int:
    """The most places in a row that are False."""
    ends = np.concatenate([[-1], np.flatnonzero(familiar), [len(familiar)]])
    return int(np.diff(ends).max()) - 1


def _sequences(text: str) -> np.ndarray:
    """The eight bytes from each byte on, as a number each."""
    data = text.encode("utf-8", "surrogatepass")
    return (
        np.ndarray((max(0, len(data) - REACH + 1),), "<u8", data, 0, (1,)) if len(data) >= REACH else np.empty(0, "<u8")
    )
