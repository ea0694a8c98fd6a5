"""How much of a text is copied from its prompt, and how much of it neither the prompt nor a sibling has.

The measures behind the guards `copied` and `foreign`. Texts are compared by their sequences of 8 bytes, for `copied`
without white space and without regard to case.
"""

from __future__ import annotations

import re
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
MOST_WORDS_OF = 16_384
"""Characters of a text and of a prompt whose words are compared."""

_WORD = re.compile(r"[^\W_]+")


def copied_share(text: str, prompt: str) -> float:
    """Share of a text that its prompt has too, in [0, 1].

    The share of its 8-byte sequences (UTF-8, one starting at each byte, without white space, case-folded) that its
    prompt has too; 0 if the text or the prompt is shorter. If every word of the text is one of the prompt's, in
    whatever order, it is at least the share of the prompt's words that the text has, so that short prompts count too.
    """
    own, asked = _folded(text), _distinct_sequences(prompt)
    sequences = np.sort(_sequences(own))  # long ones are found faster in order
    in_order = 0.0
    if len(sequences) and len(asked):
        at = np.searchsorted(asked, sequences)
        in_order = float(np.count_nonzero(asked.take(at, mode="clip") == sequences) / len(sequences))
    return max(in_order, _words_copied(text, prompt)) if in_order < 1.0 else 1.0


def copied_as_written(text: str, prompt: str) -> float:
    """`copied_share` in runs of law 1 and 2: the share of a text's 8-byte sequences, as they stand, that its prompt has
    too, in [0, 1]; 0 if the text or the prompt is shorter than 8 bytes."""
    own, asked = (_sequences(one.encode("utf-8", "surrogatepass")) for one in (text, prompt))
    return float(np.isin(own, asked).mean()) if len(own) and len(asked) else 0.0


def says_nothing_new(text: str, prompt: str) -> bool:
    """Whether every word and number of a text is one of its prompt's, and there is one.

    >>> [says_nothing_new(text, "What is 3 + 4?") for text in ("4 + 3 is what", "3 + 4 = 7")]
    [True, False]
    """
    words = _words(text)
    return bool(words) and words <= _prompt_words(prompt)


def without_copies(text: str, prompt: str) -> str:
    """The text with a space in place of the characters that its 8-byte sequences share with its prompt.

    >>> without_copies("WHAT is  3 + 4? 7", "What is 3 + 4?").split()
    ['7']
    """
    asked = _distinct_sequences(prompt)
    places = [place for place, letter in enumerate(text) if not letter.isspace()]
    folded = [text[place].casefold().encode("utf-8", "surrogatepass") for place in places]
    own = _sequences(b"".join(folded))
    if not len(own) or not len(asked):
        return text
    shared = asked.take(np.searchsorted(asked, own), mode="clip") == own
    copied = np.repeat(places, [len(one) for one in folded])[np.convolve(shared, np.ones(REACH, np.int64)) > 0]
    gone = set(copied.tolist())
    return "".join(" " if place in gone else letter for place, letter in enumerate(text))


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
    sequences = [_sequences(text.encode("utf-8", "surrogatepass")) for text in (*texts, *prompts)]
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


def _words_copied(text: str, prompt: str) -> float:
    """The share of a prompt's words that a text of these words alone has; 0 if it has others, or none."""
    if max(len(text), len(prompt)) > MOST_WORDS_OF or not says_nothing_new(text, prompt):
        return 0.0
    return len(_words(text)) / len(_prompt_words(prompt))


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


@lru_cache(maxsize=1)
def _prompt_words(prompt: str) -> frozenset[str]:
    """The distinct words and numbers of a prompt; kept, because one prompt usually comes many times in a row."""
    return _words(prompt)


def _distinct_sequences(prompt: str) -> np.ndarray:
    """The distinct sequences of a prompt, ascending; kept, because one prompt usually comes many times in a row.

    Those of a short prompt take 16 kB, at most 64 kB, so 64 MB in all. Of long prompts only the last one's are kept.
    """
    return _of_short(prompt) if len(prompt) <= SHORT else _of_long(prompt)


@lru_cache(maxsize=1024)
def _of_short(prompt: str) -> np.ndarray:
    return _distinct(_sequences(_folded(prompt)))


@lru_cache(maxsize=1)
def _of_long(prompt: str) -> np.ndarray:
    return _distinct(_sequences(_folded(prompt)))


def _folded(text: str) -> bytes:
    """A text without white space, case-folded."""
    return "".join(text.casefold().split()).encode("utf-8", "surrogatepass")


def _sequences(data: bytes) -> np.ndarray:
    """The eight bytes from each byte on, as one number each."""
    return (
        np.ndarray((max(0, len(data) - REACH + 1),), "<u8", data, 0, (1,)) if len(data) >= REACH else np.empty(0, "<u8")
    )
