"""Names of runs and checkpoints and keys of prompts, checked before anything is sent: a path is made of them."""

from __future__ import annotations

import re
from typing import Any

from memr_client.errors import InvalidRequest
from memr_client.plain import plain
from memr_client.schemas import NAME, NAME_RULE, name_like, number_as_text


def checked_name(name: Any, of: str = "run") -> str:
    """A name as a text. An integer counts as its digits, as on the wire.

    Args:
        of: what has the name, for messages: a run or a checkpoint.

    Raises:
        InvalidRequest: the service would refuse it.
    """
    given = number_as_text(plain(name))
    if isinstance(given, str) and re.fullmatch(NAME, given) is not None:
        return given
    kind = None if given is None else type(name).__name__
    shown = repr(given[:80]) if isinstance(given, str) else "None" if kind is None else f"a value of type {kind}"
    near = name_like(given) if isinstance(given, str) else None
    raise InvalidRequest(
        f"{shown} is not the name of a {of}: a name is {NAME_RULE}.",
        value=given[:80] if isinstance(given, str) else shown,
        limit=NAME_RULE,
        remedy=f"Pass the {of}'s name." if near is None else f"Write {near!r}, for example.",
    )


def checked_key(key: Any) -> str:
    """The identity of a prompt, as the rows of `prompts` name it.

    Raises:
        InvalidRequest: it is none.
    """
    if isinstance(key, str) and re.fullmatch("[0-9a-f]{32}", key) is not None:
        return key
    shown = repr(key[:80]) if isinstance(key, str) else f"a value of type {type(key).__name__}"
    raise InvalidRequest(
        f"{shown} is not the identity of a prompt.",
        value=key[:80] if isinstance(key, str) else None,
        limit="32 hexadecimal digits",
        remedy="Use the key of a row of prompts().",
    )
