"""Files and tests that the pages name in prose, between backticks, exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pages import ROOT, name, pages, prose

FOLDERS = ("benchmarks", "client", "docker", "docs", "examples", "service", "tests")
FILES = {path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*")}
TESTS = {
    test
    for file in (ROOT / "tests").rglob("test_*.py")
    for test in re.findall(r"^ *(?:async )?def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
}
WRITTEN_BY_THE_READER = {"rewards/components/brief.py"}
"""Files that a page has its reader add."""
NOTES = [path for folder in (".", *FOLDERS) for path in (ROOT / folder).glob("**/*.md" if folder != "." else "*.md")]
PAGES = sorted({*pages(), *(path for path in NOTES if "_build" not in path.parts)})


def named(text: str) -> Iterator[str]:
    """The words between single backticks."""
    for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text):
        yield from (word.strip(".,:;()\"'") for word in code.split())


def is_there(word: str) -> bool:
    """Whether a word that names a file, a folder or a test names one of this repository; True of other words."""
    path, _, test = word.partition("::")
    if re.fullmatch(r"test_\w+", test or path):
        return (test or path) in TESTS
    if path in WRITTEN_BY_THE_READER or not re.fullmatch(r"[\w./*-]+", path):
        return True
    if path.split("/")[0] in FOLDERS and "/" in path:
        return any(ROOT.glob(path.rstrip("/")))
    return not path.endswith(".py") or "*" in path or any(f"/{file}".endswith(f"/{path}") for file in FILES)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_names_is_there(page: Path) -> None:
    missing = [word for word in named(prose(page)) if not is_there(word)]
    assert missing == []


def test_what_is_not_there_is_found() -> None:
    text = "`tests/real_data.py` reads `tests/data`; `test_nothing_of_the_kind`, `no/such.py`, `a.md`"
    assert [word for word in named(text) if not is_there(word)] == [
        "tests/real_data.py", "test_nothing_of_the_kind", "no/such.py",
    ]  # fmt: skip
