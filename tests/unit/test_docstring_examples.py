"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[2] / "service"
WITH_EXAMPLES = sorted(path for path in SERVICE.glob("**/*.py") if ">>> " in path.read_text("utf-8"))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.relative_to(SERVICE).as_posix())
def test_the_examples_of_a_module_give_what_they_say(path: Path) -> None:
    name = path.relative_to(SERVICE).with_suffix("").as_posix().replace("/", ".")
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
