r"""Where a text says its final number: after its last mark (`####`, `\boxed`), else in its last line with a number."""

from __future__ import annotations

import re

from memr_service.verifiers.numeric.notation import plain
from memr_service.verifiers.numeric.reading import Value, read
from memr_service.verifiers.numeric.tokens import BOX, Run, has_number, runs, tokens_of

LONGEST = 1000
"""Characters that are read before and after the place of the final number. Text beyond them cannot belong to it."""

_BOXED = "\\boxed"
_HASHES = "####"
_BARE = re.compile(rf"[^\s$]{{0,{2 * LONGEST}}}")
_DIGIT = re.compile(r"[\d²³¹⁰⁴-⁹¼-¾⅐-⅞]")


def final_value(text: str) -> Value | None:
    """The value that a text ends with; None if it ends with none, or with an expression that is no single number."""
    box, hashes = text.rfind(_BOXED), text.rfind(_HASHES)
    if box > hashes:
        inside, end = _boxed(text, box + len(_BOXED))
        if inside.strip():
            return None if len(inside) > LONGEST else _in_box(text, inside, box, end)
    elif hashes >= 0:
        line = text[hashes + len(_HASHES) :][: 2 * LONGEST].lstrip().partition("\n")[0]
        if numbers := _with_numbers(line[:LONGEST]):
            is_cut = len(line) > LONGEST and numbers[0].after is None
            return None if is_cut else _first(numbers)
    place = _last_digit(text)
    return None if place is None else _last(text, place)


def boxed(text: str) -> str | None:
    """What the last box of a text holds; None if there is no box, or nothing in it."""
    box = text.rfind(_BOXED)
    return None if box < 0 else _boxed(text, box + len(_BOXED))[0].strip() or None


def _boxed(text: str, start: int) -> tuple[str, int]:
    """What the box holds whose command ends at `start`, and where the box ends. A box that is cut holds the rest."""
    while start < len(text) and text[start].isspace():
        start += 1
    if text[start : start + 1] != "{":
        found = _BARE.match(text, start)
        assert found is not None
        return found[0], found.end()
    depth = 0
    cut = start + 2 * LONGEST
    for place in range(start, min(len(text), cut)):
        if text[place] in "{}" and text[place - 1] != "\\":
            depth += 1 if text[place] == "{" else -1
            if depth == 0:
                return text[start + 1 : place], place + 1
    return text[start + 1 : cut], cut


def _in_box(text: str, inside: str, start: int, end: int) -> Value | None:
    """The value of the box in its expression: a sign before it and a unit after it count."""
    # The `$` shows that a factorial's `!` is not the end of a sentence.
    numbers = _with_numbers(inside, "$")
    value = read(numbers[0]) if len(numbers) == 1 else None
    if value is None or len(value.parts) > 1 or value.half:
        return value
    left = text[max(0, start - LONGEST) : start].rpartition("\n")[2].replace(BOX, "")
    right = text[end : end + LONGEST].partition("\n")[0].replace(BOX, "")
    for run in runs(tokens_of(plain(left + BOX + right), value.parts[0])):
        for token in run.tokens:
            if token.text == BOX:
                return None if _is_one_of_several(run) else read(run, token)
    return None  # in a tag


def _is_one_of_several(run: Run) -> bool:
    """Whether there is another box in the run, with a number of its own."""
    others = (token for token in run.tokens if token.kind == "number" and token.text != BOX)
    return any(token.text == _BOXED for token in run.tokens) and any(others)


def _with_numbers(text: str, end: str = "") -> list[Run]:
    """The runs of a text that have numbers."""
    return [run for run in runs(tokens_of(plain(text) + end)) if has_number(run.tokens)]


def _first(numbers: list[Run]) -> Value | None:
    """The value of the first run, unless the run after it goes on with the expression."""
    first, *others = numbers
    if others and others[0].tokens[0].kind in ("infix", "operator") and others[0].tokens[0].text not in ",;":
        return None  # 5 apples plus 3 pears
    return read(first)


def _last(text: str, place: int) -> Value | None:
    """The value of the last run with a number in the line of this place."""
    start = max(text.rfind("\n", 0, place) + 1, place - LONGEST)
    end = text.find("\n", place)
    numbers = _with_numbers(text[start : place + LONGEST if end < 0 else min(end, place + LONGEST)])
    if not numbers:
        return None
    last = numbers[-1]
    is_cut = last.before is None and start > 0 and text[start - 1] != "\n"
    is_list = last.before is None and last.tokens[0].text == "-" and text[:start].strip() != ""  # a minus or a bullet
    if is_cut or (is_list and len(last.tokens) > 1 and last.tokens[1].spaced):
        return None
    return read(last)


def _last_digit(text: str) -> int | None:
    """The place of the last digit; None if there is none."""
    for end in range(len(text), 0, -LONGEST):
        start = max(0, end - LONGEST)
        places = [found.start() for found in _DIGIT.finditer(text[start:end])]
        if places:
            return start + places[-1]
    return None
