"""The arms of the study: each one's differences from plain GRPO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.experiment.methods import METHODS
from benchmarks.planning_study.training import COUNTS_ONLY


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    about: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Config`, on top of those that all arms have."""
    prior_of: str | None = None
    """The arm whose training of another seed is the prior run."""


ARMS = {
    "r1": Arm("plain GRPO: format (0 or 2) and correctness (0 or 1)", {"memory": COUNTS_ONLY}),
    "r1-format-gated": Arm("format paid only when right", {"format_gated": True}),
    "memory-r+": Arm("exploit and explore, 1 and 1", METHODS["memory-r+"].changes),
    "official-memory-r+": Arm("the released code's order, with explore", METHODS["official-memory-r+"].changes),
    "default": Arm("the service's default preset", {"memory": {}}),
    "shuffled": Arm("control: exploit, dealt out at random", {"memory": "shuffled"}),
    "prior": Arm(
        "as `r1`, and planned from the pass rates of another seed's `r1`",
        {"plan": True, "memory": {**COUNTS_ONLY, "prior_runs": [{"run": "prior", "at": "first"}]}},
        prior_of="r1",
    ),
}
"""`r1` has a memory that counts outcomes and pays nothing, so that its run can be a prior."""
