"""What the client offers, in tables; the page's autodoc has the arguments."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from memr_client import RewardClient

from docs.generate import docstrings
from docs.generate.markdown import table

CLIENT = Path(inspect.getfile(RewardClient)).parent
IN_TRAINERS = {
    "memr_client.trl.MemoryCheckpoint": "trl/checkpoint.py",
    "memr_client.verl.checkpoint.MemoryCheckpoint": "verl/checkpoint.py",
    "memr_client.verl.manager.MemoryRewardManager": "verl/manager.py",
}
"""Classes that extend a trainer's own, and the files that hold them: they cannot be imported without that trainer."""


def calls() -> str:
    """Every public method of `RewardClient`, and what it gives back."""
    rows = []
    for name, function in inspect.getmembers(RewardClient, inspect.isroutine):
        if not name.startswith("_"):
            rows.append([f"`{name}`", docstrings.escaped(docstrings.summary(function))])
    return table(["call", "does"], rows)


def in_trainers() -> str:
    """The classes that a trainer loads by their names."""
    rows = []
    for name, file in IN_TRAINERS.items():
        tree = ast.parse((CLIENT / file).read_text("utf-8"))
        found = next(one for one in tree.body if isinstance(one, ast.ClassDef) and name.endswith(f".{one.name}"))
        said = (ast.get_docstring(found) or "").partition("\n\n")[0]
        rows.append([f"`{name}`", docstrings.escaped(docstrings.one_line(said))])
    return table(["class", "does"], rows)
