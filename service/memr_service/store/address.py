"""A store's URL as it may be shown: without its login."""

from __future__ import annotations

import re


def shown(url: str) -> str:
    """The URL without user name, password and unknown options, also where it is malformed.

    shown("redis://user:secret@host:6379/0?wait=1")     # redis://host:6379/0?wait=1
    shown("redis://:half/of#a@secret@host:6379")        # redis://host:6379
    """
    without_login = re.sub(r"^([a-z+]*:?/*).*@", r"\1", url, flags=re.DOTALL | re.IGNORECASE)
    address, _, query = without_login.partition("?")
    options = [option for option in query.split("&") if option.startswith(("prefix=", "wait="))]
    return f"{address}?{'&'.join(options)}" if options else address
