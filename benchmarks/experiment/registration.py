"""The registered comparisons: `registered.json` was written before its seeds were run."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).with_name("registered.json")


class Registration(BaseModel):
    """Methods, controls, seeds and measure. The primary comparison is the first method minus the first control."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    task: str
    methods: list[str]
    """The primary method first. Each is compared with every control, corrected for the number of comparisons."""
    controls: list[str]
    """The best control on the tuning seeds first."""
    measure: str
    """`final` or `area`."""
    seeds: list[int]
    """Seeds that were not used for any choice."""
    test: str
    """Description of the test that `compare.py` implements."""

    @property
    def primary(self) -> tuple[str, str, str]:
        """Method, control and measure of the primary comparison."""
        return self.methods[0], self.controls[0], self.measure

    @property
    def everyone(self) -> list[str]:
        """Methods and controls; they run on all seeds."""
        return [*self.methods, *self.controls]


def registered() -> Registration:
    """Read the registration."""
    return Registration.model_validate_json(FILE.read_text())
