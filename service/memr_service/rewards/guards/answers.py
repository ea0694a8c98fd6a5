"""Whether a completion names an answer: the measure by which short answers are told from refusals and noise."""

from __future__ import annotations

import re

from memr_service.rewards.guards.overlap import without_copies

LONGEST = 16_384
"""Characters of a text that may be a short answer. Longer ones are not searched, because that takes time."""
NUMBER_WORDS = (
    "zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|"
    "eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|half"
)
"""English words for numbers. "one" counts only by itself: "I cannot answer this one." names none."""

_NUMBER = re.compile(
    rf"(?<!\w)\d+(?:[.,:/]\d+)*[^\W\d_]{{0,3}}(?!\w)|\b(?:{NUMBER_WORDS})\b|^\W*one\W*$", re.IGNORECASE
)
_OPTION = re.compile(r"(?:^|(?<=\W))([A-HJ])\W*$")
_VERDICT = re.compile(r"\b(?:yes|no|true|false)\W*$", re.IGNORECASE)
_DECLINES = re.compile(
    r"n['’]t\b|\b(?:not|cannot|cant|dont|unable|sorry|unknown|unsure|idk|dunno|refuse)\b", re.IGNORECASE
)


def names_answer(text: str, prompt: str) -> bool:
    """Whether a completion names an answer of its own, which exempts a short one from `topic_floor` and `max_copied`.

    True if, outside of what it copies from its prompt, it names a number (in digits of any script, with a unit of up to
    three letters, or in English words) or ends in "yes", "no", "true", "false" or an option's letter that the prompt
    has; and if it does not decline, which English words such as "not", "sorry" and "unknown" tell. A text of more than
    16,384 characters names none.

    >>> [names_answer(text, "What is 3 + 4?") for text in ("7", "The answer is seven.", "What is 3 + 4? 7")]
    [True, True, True]
    >>> [names_answer(text, "What is 3 + 4?") for text in ("", "I do not know.", "What is 3 + 4?", "xq;# f")]
    [False, False, False, False]
    """
    stripped = text.strip()
    if not 0 < len(stripped) <= LONGEST or _DECLINES.search(stripped):
        return False
    if stripped in prompt and not _NUMBER.fullmatch(stripped):
        return bool(_VERDICT.fullmatch(stripped) or _names_option(stripped, prompt))
    own = without_copies(stripped, prompt)
    return bool(_NUMBER.search(own) or _VERDICT.search(own)) or _names_option(own, prompt)


def _names_option(text: str, prompt: str) -> bool:
    """Whether a text ends in a capital letter that stands by itself in the prompt."""
    found = _OPTION.search(text)
    return found is not None and re.search(rf"(?<!\w){found[1]}(?!\w)", prompt) is not None
