"""The registered comparisons: `registered.json` was written before its seeds were run."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).with_name("registered.json")


class Curve(BaseModel):
    """The exploratory trainings at other shares of dead questions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dead_shares: list[float]
    methods: list[str]
    controls: list[str]
    seeds: list[int]


class Registration(BaseModel):
    """Methods, controls, seeds and measure. The primary comparison is the first method minus the first control."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dead_share: float
    methods: list[str]
    controls: list[str]
    measure: str
    seeds: list[int]
    curve: Curve
    test: str


def registered() -> Registration:
    """Read the registration."""
    return Registration.model_validate_json(FILE.read_text())
