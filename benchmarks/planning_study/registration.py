"""What is trained and compared: two lists, each written before its seeds were run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

FOLDER = Path(__file__).parent

Pool = float | Literal["chain-sum"]
"""The `dead_share` of `dial-pool`, or the task whose questions reasoning-gym makes."""


class Part(BaseModel):
    """Arms that are trained on some pools with some seeds, and which of them are compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pools: list[Pool]
    arms: list[str]
    pairs: list[tuple[str, str]]
    """Method and control. Intervals and p are corrected for all pairs of the part."""
    seeds: list[int]

    def other(self, seed: int) -> int:
        """The seed of the training that a prior comes from: the next one, and of the last one the first."""
        return self.seeds[(self.seeds.index(seed) + 1) % len(self.seeds)]


class Curve(BaseModel):
    """The exploratory trainings at other shares of dead questions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dead_shares: list[float]
    methods: list[str]
    controls: list[str]
    seeds: list[int]


class Registration(BaseModel):
    """`registered.json`. The primary comparison is the first method minus the first control."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dead_share: float
    methods: list[str]
    controls: list[str]
    measure: str
    seeds: list[int]
    curve: Curve
    test: str


class Exploratory(BaseModel):
    """`exploratory.json`: the parts that were added later."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    controls: Part
    reasoning_gym: Part
    measure: str
    test: str


def registered() -> Registration:
    """Read the first list."""
    return Registration.model_validate_json((FOLDER / "registered.json").read_text())


def exploratory() -> Exploratory:
    """Read the second list."""
    return Exploratory.model_validate_json((FOLDER / "exploratory.json").read_text())


def parts() -> dict[str, Part]:
    """Everything that is trained, by the name of its part."""
    first, second = registered(), exploratory()
    curve = first.curve
    return {
        "registered": Part(
            pools=[first.dead_share],
            arms=[*first.controls, *first.methods],
            pairs=[(method, control) for method in first.methods for control in first.controls],
            seeds=first.seeds,
        ),
        "curve": Part(pools=curve.dead_shares, arms=[*curve.controls, *curve.methods], pairs=[], seeds=curve.seeds),
        "controls": second.controls,
        "reasoning-gym": second.reasoning_gym,
    }
