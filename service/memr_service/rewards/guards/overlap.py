"""How much of a text is copied from its prompt, and how much of it neither the prompt nor a sibling has.

The measures behind the guards `copied` and `foreign`. Texts are compared by their sequences of 8 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

REACH = 8
"""Bytes of a sequence: about one and a half English words, three Chinese characters, or a short sum."""
SIBLINGS = 2
"""Siblings that a text needs before it can be said what is foreign to its group."""


def copied_share(text: str, prompt: str) -> float:
    """Share of a text's 8-byte sequences (UTF-8, one starting at each byte) that its prompt has too, in [0, 1].

    0 if the text or the prompt is shorter than 8 bytes.
    """
    own, asked = _sequences(text), _distinct_sequences(prompt)
    if not len(own) or not len(asked):
        return 0.0
    at = np.searchsorted(asked, own)
    return float(np.count_nonzero(asked.take(at, mode="clip") == own) / len(own))


def without_copies(text: str, prompt: str) -> str:
    """The text without the bytes that its 8-byte sequences share with its prompt.

    >>> without_copies("What is 3 + 4? 7", "What is 3 + 4?")
    ' 7'
    """
    own, asked = _sequences(text), _distinct_sequences(prompt)
    if not len(own) or not len(asked):
        return text
    at = np.searchsorted(asked, own)
    shared = asked.take(at, mode="clip") == own
    left = np.convolve(shared, np.ones(REACH, np.int64)) == 0
    kept: bytes = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)[left].tobytes()
    return kept.decode("utf-8", "replace")


def foreign_stretches(texts: Sequence[str], prompts: Sequence[str], group: np.ndarray) -> np.ndarray:
    """The longest stretch of each text that neither its prompt nor any sibling has, in bytes (n,).

    The length of a stretch is the number of consecutive bytes at which an 8-byte sequence starts that neither the
    prompt nor another text of the group has. Attempts at one question keep naming the same things; text that is added
    before, after or inside an answer to please the encoder does not. A group that drifts together is not detected,
    because the comparison is within the group.

    Args:
        texts: completions (n).
        prompts: prompt of each completion (n).
        group: number of each item's group (n,).

    Returns:
        (n,) integers; 0 in groups of fewer than three, where there is too little to compare with.
    """
    longest = np.zeros(len(texts), np.int64)
    for number in np.unique(group):
        members = np.flatnonzero(group == number).tolist()
        if len(members) > SIBLINGS:
            longest[members] = _foreign([texts[item] for item in members], {prompts[item] for item in members})
    return longest


def _foreign(texts: list[str], prompts: set[str]) -> np.ndarray:
    """`foreign_stretches` of the texts (t,) of one group."""
    sequences = [_sequences(text) for text in (*texts, *prompts)]
    everything = np.concatenate(sequences)
    source = np.repeat(np.arange(len(sequences)), [len(one) for one in sequences])
    order = np.argsort(everything)
    ordered, sources = everything[order], source[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)])
    shared = (
        np.minimum.reduceat(sources, begins) < np.maximum.reduceat(sources, begins)
        if len(begins)
        else np.empty(0, bool)
    )
    familiar = np.empty(len(everything), bool)
    familiar[order] = np.repeat(shared, np.diff(begins, append=len(ordered)))
    return _longest(familiar, np.cumsum([len(one) for one in sequences])[: len(texts)])


def _longest(familiar: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The longest row of False in each text (t,), whose flags end at `ends` (t,) and begin at the end before."""
    stops = ends + np.arange(len(ends))  # a True is inserted after each text, so that no row crosses into the next
    marked = np.insert(familiar[: ends[-1]], ends, True)
    positions = np.flatnonzero(marked)
    between = np.diff(positions, prepend=-1) - 1
    return np.asarray(np.maximum.reduceat(between, np.searchsorted(positions, np.concatenate([[0], stops[:-1] + 1]))))


@lru_cache(maxsize=1024)
def _distinct_sequences(prompt: str) -> np.ndarray:
    """The distinct sequences of a prompt, ascending; kept, because one prompt usually comes many times in a row."""
    return np.unique(_sequences(prompt))


def _sequences(text: str) -> np.ndarray:
    """The eight bytes from each byte on, as one number each."""
    data = text.encode("utf-8", "surrogatepass")
    return (
        np.ndarray((max(0, len(data) - REACH + 1),), "<u8", data, 0, (1,)) if len(data) >= REACH else np.empty(0, "<u8")
    )
