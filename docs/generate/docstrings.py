"""What the code says about itself: docstrings, and the strings under fields."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import cache
from itertools import pairwise
from typing import Any


@cache
def of_fields(cls: type[Any]) -> dict[str, str]:
    """Field -> the string under it, of a class and its bases."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("memr_"):
            docs |= _own(base)
    return docs


def _own(cls: type[Any]) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, node in pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docs[ast.unparse(field.target)] = one_line(str(node.value.value))
    return docs


def of(thing: Any) -> str:
    """The docstring of a class or function, without indentation; empty where there is none."""
    return inspect.cleandoc(thing.__doc__ or "")


def summary(thing: Any) -> str:
    """The first paragraph of its docstring, on one line."""
    return one_line(of(thing).partition("\n\n")[0])


def prose(thing: Any) -> str:
    """Its docstring up to examples and the sections for arguments, results and errors."""
    return re.split(r"\n\n(?:(?:Args|Returns|Raises|Yields):\n|>>> )", of(thing))[0]


def one_line(text: str) -> str:
    """Text with every run of white space as one space."""
    return " ".join(text.split())


def formula(text: str) -> tuple[str, str]:
    """The formula that a docstring begins with, and what follows it; else "" and all of it."""
    if re.match("[A-Z][a-z]", text):
        return "", text
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and text[at : at + 2] in (": ", ", ", "; "):
            return text[:at], text[at + 2].upper() + text[at + 3 :]
    return text.removesuffix("."), ""


def as_markdown(text: str) -> str:
    """A docstring as Markdown. Where it begins with a formula, that stands by itself as code."""
    first, *others = (one_line(part) for part in text.split("\n\n"))
    symbols, said = formula(first)
    parts = [f"`{symbols}`" if symbols else "", *map(escaped, [said, *others])]
    return "\n\n".join(part for part in parts if part)


def escaped(text: str) -> str:
    """Text in which Markdown sees no emphasis, links or tags; code stays code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<>\[\]])", r"\\\1", part) for part in parts)
