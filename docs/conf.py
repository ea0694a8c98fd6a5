"""Sphinx's configuration. `make docs` builds the pages; nothing is fetched while it does."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from memr_client.errors import PROBLEMS
from pydantic import BaseModel
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).parents[1]

project = "memr"
author = "The memr authors"
copyright = "The memr authors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build", "generate"]

html_theme = "furo"
html_title = "memr"
html_static_path = ["_static"]
html_css_files = ["memr.css"]
toc_object_entries_show_parents = "hide"
smartquotes = False
html_show_sphinx = False
html_copy_source = False

myst_heading_anchors = 4
copybutton_exclude = ".linenos, .gp, .go"

default_role = "code"
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_mock_imports = ["transformers"]
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 88

nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(collections|contextlib|httpx|os|pydantic|typing_extensions)\..*"),
    ("py:class", r"(.*\.)?(Array|Config|Name|Outcome|PresetName|RewardFunction|SharedOutcome|Source|Texts|Transport)"),
]
"""Names of other packages, whose documentation is not read so that a build needs no network; and aliases of types."""

SCHEMAS = json.loads((ROOT / "openapi.json").read_text("utf-8"))["components"]["schemas"]
TABLES = {
    "RunConfig": ("reference/run-config", ""),
    "Component": ("reference/components-and-guards", ""),
    "Columns": ("reference/http-api", "rewardrequest"),
    "Page": ("reference/http-api", "get-runsrun_idcompletions"),
    "PromptPage": ("reference/http-api", "get-runsrun_idprompts"),
    **{problem.__name__: ("reference/errors", "") for problem in PROBLEMS.values()},
}
"""Types that are described elsewhere than under the bodies of the HTTP API, and errors: page and anchor."""


def code_in_docstrings(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Show the paragraphs of a docstring that are Python code as code."""
    paragraphs = "\n".join(lines).split("\n\n")
    lines[:] = "\n\n".join(map(_as_code, paragraphs)).split("\n")
    if what == "attribute":
        lines.insert(0, "")  # napoleon takes what stands before a colon in the first line for a type


def _as_code(paragraph: str) -> str:
    try:
        statements = ast.parse(paragraph).body
    except SyntaxError:
        return paragraph
    calls = (ast.Call, ast.Assign, ast.AsyncWith, ast.With)
    if not any(isinstance(node, calls) for statement in statements for node in ast.walk(statement)):
        return paragraph
    return ".. code-block:: python\n\n    " + paragraph.replace("\n", "\n    ")


def no_fields_in_signatures(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A model's fields stand below its name, not behind it."""
    return ("()", None) if isinstance(thing, type) and issubclass(thing, BaseModel) else (signature, returns)


def to_the_tables(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """A type of the wire links to the table of its fields."""
    name = node["reftarget"].rpartition(".")[2]
    page, anchor = TABLES.get(name, ("reference/http-api", name.lower()))
    if node.get("refdomain") != "py" or not (name in TABLES or name in SCHEMAS):
        return None
    return make_refnode(app.builder, node["refdoc"], page, anchor, content)


OUTSIDE = re.compile(r"\[([^]]*)\]\((\.\./[^)#\s]+)(?:#[^)]*)?\)")
"""A link to another folder: its text and path."""


def files_of_the_repository(app: Sphinx, docname: str, source: list[str]) -> None:
    """A link to a page or folder outside docs/ works on a forge; here a page is a download, and a folder its name."""
    folder = (Path(app.srcdir) / docname).parent

    def replaced(found: re.Match[str]) -> str:
        target = (folder / found[2]).resolve()
        if target.is_relative_to(app.srcdir) or (target.is_file() and target.suffix != ".md"):
            return found[0]
        return f"{{download}}`{found[1].strip('`')} <{found[2]}>`" if target.is_file() else found[1]

    source[0] = OUTSIDE.sub(replaced, source[0])


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("source-read", files_of_the_repository)
    app.connect("autodoc-process-docstring", code_in_docstrings, priority=400)
    app.connect("autodoc-process-signature", no_fields_in_signatures)
    app.connect("missing-reference", to_the_tables)
