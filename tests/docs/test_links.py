"""Links of the pages lead somewhere: to a heading, a page or a file of the repository."""

from __future__ import annotations

import pytest
from support.pages import ROOT, anchors, links, name, pages


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_to_a_page_a_heading_or_a_file(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        if path.startswith(("http://", "https://", "mailto:")):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: there is no such file"
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        if anchor:
            assert target.suffix == ".md", f"{link}: only pages have anchors"
            assert anchor in anchors(target), f"{link}: {name(target)} has no such heading"


def test_every_page_can_be_reached_from_the_index():
    index = (ROOT / "docs/index.md").read_text("utf-8")
    for page in pages():
        if page.is_relative_to(ROOT / "docs") and name(page) != "docs/index.md":
            listed = page.relative_to(ROOT / "docs").with_suffix("").as_posix()
            assert f"\n{listed}\n" in index, f"docs/index.md does not list {listed}"
