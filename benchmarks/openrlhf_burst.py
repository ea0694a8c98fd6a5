"""A rollout of OpenRLHF's executor against a `memr serve` on this machine: 64 groups of 16, one sample per request.

    python benchmarks/openrlhf_burst.py

First over a working network, then over one that refuses requests, breaks connections after the request has arrived, and
lets connections hang until the caller and the waiting members of its group time out and try again. Every sample must
get a reward, the memory must hold each once, and every raw value must equal that of one request per group (`hashed`
encoder). It needs openrlhf (`make setup` installs it without its GPU dependencies). `tests/support/openrlhf_burst.py`
says which parts are real. Time-outs are 10 s instead of 180 s.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.openrlhf_burst import Outcome, burst

COLUMNS = ("samples", "answered", "stored", "records", "requests", "unequal", "seconds")


def check(came: Outcome) -> None:
    """Raise if a check fails."""
    assert came.answered == came.stored == came.samples, came
    assert (came.incomplete, came.unequal, came.same_state) == (0, 0, True), came


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=64)
    parser.add_argument("--size", type=int, default=16, help="completions of a group")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # OpenRLHF logs every try that fails
    print("".join(f"{name:>10}" for name in ("network", *COLUMNS)), " faults")
    for network, faulty in (("good", False), ("bad", True)):
        spread_s = 4.0 if faulty else 0.0
        came = burst(options.groups, options.size, timeout_s=10, spread_s=spread_s, seed=options.seed, faulty=faulty)
        check(came)
        cells = (network, *(f"{getattr(came, column):.4g}" for column in COLUMNS))
        faults = ", ".join(f"{name} {count}" for name, count in sorted(came.faults.items()))
        print("".join(f"{cell:>10}" for cell in cells), f" {faults or 'none'}")


if __name__ == "__main__":
    main()
