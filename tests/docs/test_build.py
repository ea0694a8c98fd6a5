"""The documentation builds, and Sphinx has nothing to complain about; no page is fetched while it does."""

from __future__ import annotations

import subprocess
import sys

from support.pages import ROOT


def test_sphinx_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", "-b", "html", "docs", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    for page in ("index", "reference/http-api", "reference/python-client"):
        assert (tmp_path / f"{page}.html").stat().st_size > 10_000
    assert "gsm8k-seed0" in (tmp_path / "reference/python-client.html").read_text("utf-8")


def test_pages_load_nothing_from_elsewhere():
    configuration = (ROOT / "docs/conf.py").read_text("utf-8")
    assert "intersphinx" not in configuration
    assert "mathjax" not in configuration
