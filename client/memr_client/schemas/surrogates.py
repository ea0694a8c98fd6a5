"""Halves of surrogate pairs: what a text holds where its last or first character was cut in two.

A Python string, a JSON escape and some encoders can carry half of a pair; UTF-8 cannot. Such a half is read as U+FFFD.
"""

from __future__ import annotations

import re
from typing import Any

HALF = re.compile("[\ud800-\udfff]")
MOST_NAMED = 5
"""Texts that one warning names."""


def without_halves(value: Any) -> tuple[Any, list[str]]:
    """A plain value with every half of a surrogate pair replaced by U+FFFD, and the paths of the texts it changed.

    >>> without_halves({"completions": ["whole", "cut \\ud83d"]})
    ({'completions': ['whole', 'cut \ufffd']}, ['completions[1]'])
    """
    changed: list[str] = []
    return _mended(value, "", changed), changed


def halves_warning(paths: list[str]) -> list[str]:
    """A warning that names the texts at these paths; none if there are none."""
    if not paths:
        return []
    named = ", ".join(paths[:MOST_NAMED])
    more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
    return [
        f"Half of a surrogate pair, which is no character, was read as U+FFFD in {named}{more}: a text was cut within "
        "a character."
    ]


def _mended(value: Any, path: str, changed: list[str]) -> Any:
    if isinstance(value, str):
        if HALF.search(value) is None:
            return value
        # Both halves side by side are a character that was taken apart.
        text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if "\ufffd" in text:
            changed.append(path)
        return text
    if isinstance(value, dict):
        inside = f"{path}." if path else ""
        return {
            _mended(key, path, changed): _mended(one, f"{inside}{_mended(key, path, [])}", changed)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_mended(one, f"{path}[{number}]", changed) for number, one in enumerate(value)]
    return value
