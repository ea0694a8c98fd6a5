"""What each arm samples, and from what it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.planning_study.controls import DynamicSampling, Greso, GresoWithDynamicSampling, Oracle
from examples.grpo.sampling import MakeSampling, of_config

SMALL_GROUP = 4


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    about: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Config`, on top of those that all arms have."""
    make_sampling: MakeSampling = of_config
    prior_of: str | None = None
    """The arm whose training of another seed is the prior run."""
    prior_at: str = "first"
    """See `PriorRun.at`."""
    dealt: bool = False
    """Whether the prior's pass rates are dealt out to the questions at random."""


PLAN = {"plan": True}

ARMS = {
    "uniform": Arm("questions in a new random order each epoch, groups of 16"),
    "uniform-4": Arm("the same, groups of 4", {"group_size": SMALL_GROUP}),
    "own": Arm("planned from the training's own outcomes", PLAN),
    "prior": Arm("planned, starting from the pass rates of another seed's uniform training", PLAN, prior_of="uniform"),
    "prior-4": Arm("as `prior`, groups of 4", {**PLAN, "group_size": SMALL_GROUP}, prior_of="uniform"),
    "placebo": Arm(
        "as `prior`, but the pass rates are dealt out to the questions at random", PLAN, prior_of="uniform", dealt=True
    ),
    "greso": Arm("as `uniform`, but skips by GRESO what had no spread", make_sampling=Greso),
    "greso-dapo": Arm("the same, and `dapo`", make_sampling=GresoWithDynamicSampling),
    "dapo": Arm("as `uniform`, but learns from full batches of groups with spread", make_sampling=DynamicSampling),
    "batch-mean": Arm("as `uniform`; baseline: the batch's mean", {"baseline": "batch"}),
    "james-stein": Arm("as `uniform`; baseline: James-Stein's", {"baseline": "james-stein"}),
    "oracle": Arm("planned from its own policy's answers to all questions, uncounted", PLAN, Oracle),
    "stale": Arm(
        "as `prior`, with the pass rates at the end of that training", PLAN, prior_of="uniform", prior_at="last"
    ),
    "weaker": Arm("as `prior`, from a training of `uniform-weak`", PLAN, prior_of="uniform-weak"),
    "uniform-weak": Arm("as `uniform`, with a model that was taught 300 steps instead of 750", {"lessons": 300}),
}
