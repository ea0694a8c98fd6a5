"""What a text has in common, word for word, with its prompt and with its siblings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

REACH = 8
"""Bytes that must agree: a word and a half of English, three Chinese characters, a short sum."""
COMPANY = 2
"""Siblings that it takes to say what is foreign to a group."""


def copied_share(text: str, prompt: str) -> float:
    """Share of a text's 8-byte sequences (UTF-8, one at every byte) that stand in its prompt, in [0, 1]."""
    own, asked = _sequences(text), _distinct_sequences(prompt)
    if not len(own) or not len(asked):
        return 0.0
    at = np.searchsorted(asked, own)
    return float(np.count_nonzero(asked.take(at, mode="clip") == own) / len(own))


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


def _foreign(texts: list[str], prompts: set[str]) -> np.ndarray:
    """Of the texts (t,) of one group."""
    said = [_sequences(text) for text in (*texts, *prompts)]
    everything = np.concatenate(said)
    speaker = np.repeat(np.arange(len(said)), [len(one) for one in said])
    order = np.argsort(everything)
    ordered, by = everything[order], speaker[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)])
    shared = np.minimum.reduceat(by, begins) < np.maximum.reduceat(by, begins) if len(begins) else np.empty(0, bool)
    familiar = np.empty(len(everything), bool)
    familiar[order] = np.repeat(shared, np.diff(begins, append=len(ordered)))
    return _longest(familiar, np.cumsum([len(one) for one in said])[: len(texts)])


def _longest(familiar: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The most places in a row that are False, of each stretch up to one of `ends` (t,) from the one before it (t,)."""
    stops = ends + np.arange(len(ends))  # behind each stretch a place of its own, which ends what it holds
    marked = np.insert(familiar[: ends[-1]], ends, True)
    places = np.flatnonzero(marked)
    between = np.diff(places, prepend=-1) - 1
    return np.asarray(np.maximum.reduceat(between, np.searchsorted(places, np.concatenate([[0], stops[:-1] + 1]))))


@lru_cache(maxsize=1024)
def _distinct_sequences(prompt: str) -> np.ndarray:
    """Those of a prompt, ascending, each once: most are asked about many times in a row."""
    return np.unique(_sequences(prompt))


def _sequences(text: str) -> np.ndarray:
    """The eight bytes from each byte on, as a number each."""
    data = text.encode("utf-8", "surrogatepass")
    return (
        np.ndarray((max(0, len(data) - REACH + 1),), "<u8", data, 0, (1,)) if len(data) >= REACH else np.empty(0, "<u8")
    )
