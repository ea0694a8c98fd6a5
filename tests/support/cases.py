"""Cases of a parametrised test, of which `make check` runs the first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def slow_after(count: int, cases: Iterable[Any]) -> list[Any]:
    """The cases, those after the first `count` marked slow. A tuple holds one value for each name."""
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*one, marks=pytest.mark.slow if place >= count else ()) for place, one in enumerate(values)]
