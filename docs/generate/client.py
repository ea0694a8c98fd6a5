"""The calls of the client, in one table; the page's autodoc has their arguments."""

from __future__ import annotations

import inspect

from memr_client import RewardClient

from docs.generate import docstrings
from docs.generate.markdown import table


def calls() -> str:
    """Every public method of `RewardClient`, and what it gives back."""
    rows = []
    for name, function in inspect.getmembers(RewardClient, inspect.isroutine):
        if not name.startswith("_"):
            rows.append([f"`{name}`", docstrings.escaped(docstrings.summary(function))])
    return table(["call", "does"], rows)
