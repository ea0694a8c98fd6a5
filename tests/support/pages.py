"""The pages of the documentation and their blocks of code.

What a test does with a block follows from its language, and from a comment on the line above it:

    ```python, ```bash      run, in the order of the page, in one folder; a served memr answers at 127.0.0.1:8000
    ```json, yaml, toml     parsed
    ```text                 a picture, such as a tree of files: its paths must exist
    ```sh                   shown only, and so needs the comment `not run`

    <!-- not run: REASON -->    not run; its files, targets, commands, options and imports must exist all the same
    <!-- run by: tests/X.py --> another test runs it
    <!-- output -->             a text block: what the block before it printed; ... stands for anything
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
URL = "http://127.0.0.1:8000"
COMMENT = re.compile(r"<!-- (?P<kind>not run|run by|output|generated|table|end)(?:: (?P<about>.*?))? -->")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    """The page's path in the repository."""
    line: int
    """Of its first line of code."""
    language: str
    text: str
    kind: str = ""
    """`not run`, `run by` or `output`, where the line above says so; `generated` inside generated parts."""
    about: str = ""
    """The reason, or the test that runs it."""

    @property
    def runs(self) -> bool:
        """Whether the tests of the pages run it."""
        return self.language in ("python", "bash") and not self.kind

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page, README included; not what a build has left."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
    return [page for page in found if "_build" not in page.parts]


def name(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in its order."""
    fence, opened, indent, kind, about, generated = "", 0, 0, "", "", False
    language, text = "", []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        bare = line.strip()
        if fence:
            if bare == fence:
                yield Block(name(page), opened + 1, language, "\n".join(text) + "\n", kind, about)
                fence, kind, about = "", "", ""
            else:
                text.append(line[indent:] if not line[:indent].strip() else line)
        elif found := re.match(r"(`{3,})(.*)", bare):
            fence, language, opened, text = found[1], found[2].strip(), number, []
            indent = len(line) - len(line.lstrip())
            kind = kind or ("generated" if generated else "")
        elif found := COMMENT.fullmatch(bare):
            if found["kind"] in ("generated", "table", "end"):
                generated = found["kind"] != "end"
            else:
                kind, about = found["kind"], found["about"] or ""
        elif bare:
            kind, about = "", ""
    assert not fence, f"{name(page)}:{opened} is not closed"


def every_block() -> list[Block]:
    """The blocks of all pages."""
    return [block for page in pages() for block in blocks(page)]


def prose(page: Path) -> str:
    """A page without its blocks of code and comments."""
    text = re.sub(r"^ *(`{3,}).*?^ *\1 *$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges and Sphinx make them."""
    found: set[str] = set()
    for title in re.findall(r"^#+ (.*?)\s*$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title)
        slug = re.sub(r"[^\w -]", "", plain.lower()).replace(" ", "-")
        number = next(number for number in range(100) if (f"{slug}-{number}" if number else slug) not in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links and pictures."""
    yield from re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", re.sub(r"`[^`\n]+`", "", prose(page)))
