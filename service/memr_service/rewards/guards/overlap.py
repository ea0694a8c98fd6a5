"""How much of a text is copied from its prompt, and how much of it neither the prompt nor a sibling has.

The measures behind the guards `copied` and `foreign`. Texts are compared by their sequences of 8 bytes.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import lru_cache

import numpy as np

REACH = 8
"""Bytes of a sequence: about one and a half English words, three Chinese characters, or a short sum."""
SIBLINGS = 2
"""Siblings that a text needs before it can be said what is foreign to its group."""
PART = 1 << 19
"""About how many sequences are compared at a time, which bounds the memory that it takes."""
ODD = np.uint64(0x9E3779B97F4A7C15)
"""Multiplier of the hash that spreads sequences over parts."""
SHORT = 2048
"""Characters of a prompt whose sequences are kept together with those of others."""


def copied_share(text: str, prompt: str) -> float:
    """Share of a text's 8-byte sequences (UTF-8, one starting at each byte) that its prompt has too, in [0, 1].

    0 if the text or the prompt is shorter than 8 bytes.
    """
    own, asked = _sequences(text), _distinct_sequences(prompt)
    if not len(own) or not len(asked):
        return 0.0
    own = np.sort(own)  # long ones are found faster in order
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


def foreign_stretches(
    texts: Sequence[str], prompts: Sequence[str], group: np.ndarray
) -> Generator[None, None, np.ndarray]:
    """The longest stretch of each text that neither its prompt nor any sibling has, in bytes (n,).

    The length of a stretch is the number of consecutive bytes at which an 8-byte sequence starts that neither the
    prompt nor another text of the group has. Attempts at one question keep naming the same things; text that is added
    before, after or inside an answer to please the encoder does not. A group that drifts together is not detected,
    because the comparison is within the group.

    It yields between steps of some milliseconds, because many long texts take seconds.

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
            texts_here, prompts_here = [texts[item] for item in members], {prompts[item] for item in members}
            longest[members] = yield from _foreign(texts_here, prompts_here)
    return longest


def _foreign(texts: list[str], prompts: set[str]) -> Generator[None, None, np.ndarray]:
    """`foreign_stretches` of the texts (t,) of one group."""
    sequences = [_sequences(text) for text in (*texts, *prompts)]
    familiar = [np.zeros(len(own), bool) for own in sequences[: len(texts)]]
    parts = 1 + sum(map(len, sequences)) // PART
    part_of = []
    for own in sequences if parts > 1 else ():
        part_of.append(_parts(own, parts))
        yield
    for part in range(parts):
        places: Sequence[np.ndarray | slice] = [np.flatnonzero(one == part) for one in part_of]
        places = places or [slice(None)] * len(sequences)
        yield
        chosen = [own[at] for own, at in zip(sequences, places, strict=True)]
        shared = yield from _shared(chosen)
        for known, at, own in zip(familiar, places, chosen, strict=False):
            if len(shared):
                known[at] = shared.take(np.searchsorted(shared, own), mode="clip") == own
            yield
    return np.array([_longest(known) for known in familiar])


def _parts(sequences: np.ndarray, parts: int) -> np.ndarray:
    """The part to which each sequence belongs (n,); equal ones belong to the same."""
    return np.asarray((sequences * ODD >> np.uint64(44)) * np.uint64(parts) >> np.uint64(20), np.uint16)


def _shared(sequences: list[np.ndarray]) -> Generator[None, None, np.ndarray]:
    """The sequences that more than one text has, ascending."""
    distinct = []
    for own in sequences:
        distinct.append(_distinct(own))
        yield
    together = np.concatenate(distinct)
    together.sort()
    return np.asarray(together[1:][together[1:] == together[:-1]])


def _longest(familiar: np.ndarray) -> int:
    """The longest row of False."""
    ends = np.flatnonzero(familiar)
    return int(np.diff(ends, prepend=-1, append=len(familiar)).max()) - 1


def _distinct(sequences: np.ndarray) -> np.ndarray:
    """The distinct ones, ascending."""
    ordered = np.sort(sequences)
    return np.asarray(ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]])


def _distinct_sequences(prompt: str) -> np.ndarray:
    """The distinct sequences of a prompt, ascending; kept, because one prompt usually comes many times in a row.

    Those of a short prompt take 16 kB, at most 64 kB, so 64 MB in all. Of long prompts only the last one's are kept.
    """
    return _of_short(prompt) if len(prompt) <= SHORT else _of_long(prompt)


@lru_cache(maxsize=1024)
def _of_short(prompt: str) -> np.ndarray:
    return _distinct(_sequences(prompt))


@lru_cache(maxsize=1)
def _of_long(prompt: str) -> np.ndarray:
    return _distinct(_sequences(prompt))


def _sequences(text: str) -> np.ndarray:
    """The eight bytes from each byte on, as one number each."""
    data = text.encode("utf-8", "surrogatepass")
    return (
        np.ndarray((max(0, len(data) - REACH + 1),), "<u8", data, 0, (1,)) if len(data) >= REACH else np.empty(0, "<u8")
    )
