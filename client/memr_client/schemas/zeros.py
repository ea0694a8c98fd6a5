"""Why rewards are 0: the causes that the service names, counted over many responses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

LINE = re.compile(r"(?P<components>[^:]*?)(?:, (?P<count>\d+) of \d+)?: (?P<cause>[^;]*)")
"""A line of `why_zero`. What follows a semicolon belongs to one request."""
TO_GO = re.compile(r", \d+ to go")


def counted(lines: Iterable[str]) -> Counter[str]:
    """Cause, with the components that it holds for -> number of completions."""
    counts: Counter[str] = Counter()
    for line in lines:
        if (found := LINE.match(line)) is not None:
            cause = TO_GO.sub("", f"{found['components']}: {found['cause']}")
            counts[cause] += int(found["count"] or 1)
    return counts
