"""A process that runs the verifier `math`: `python -m memr_service.verifiers.math_worker`.

It writes a line when it is ready. Then it reads lines [completion, answer, seconds] and writes the verdict on each.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Literal

from memr_client.errors import InvalidRequest

from memr_service.verifiers.math import TooSlow, timed

Verdict = Literal["right", "wrong", "unreadable", "unjudged"]
"""Of a completion. `unreadable`: the verifier cannot read the right answer. `unjudged`: it took too long."""


def work() -> None:
    """Write verdicts until the input ends."""
    import math_verify  # noqa: F401  (before the first verification, whose time is measured)

    logging.disable()  # math-verify logs the texts it cannot read
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(_verdict(*json.loads(line))), flush=True)


def _verdict(completion: str, answer: str, seconds: float) -> Verdict:
    try:
        return "right" if timed(completion, answer, seconds) else "wrong"
    except InvalidRequest:
        return "unreadable"
    except TooSlow:
        return "unjudged"


if __name__ == "__main__":
    work()
