"""The registered comparisons: `registered.json` was written before its seeds were run."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmarks.repair_study.labels import Kind

FILE = Path(__file__).with_name("registered.json")


class Registration(BaseModel):
    """Arms, comparisons, seeds and measure. The first comparison is the primary one."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    noise: float
    kind: Kind
    pairs: list[tuple[str, str]]
    """Arms that are compared: a method, and its control."""
    others: list[str]
    """Arms that are reported beside them."""
    measure: str
    seeds: list[int]
    tuned_on: list[int]
    """Seeds on which the gates' defaults were chosen."""
    exploratory: list[tuple[float, Kind]]
    """Further noise, with the same arms and seeds."""
    test: str

    @property
    def arms(self) -> list[str]:
        """All arms, those of the primary comparison first."""
        compared = [arm for pair in self.pairs for arm in reversed(pair)]
        return list(dict.fromkeys([*compared, *self.others]))

    @property
    def conditions(self) -> list[tuple[float, Kind]]:
        """All noise, the registered one first."""
        return [(self.noise, self.kind), *self.exploratory]


def registered() -> Registration:
    """Read the registration."""
    return Registration.model_validate_json(FILE.read_text())
