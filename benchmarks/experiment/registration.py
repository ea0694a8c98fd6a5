"""The comparisons that count, written down in `registered.json` before its seeds were run."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).with_name("registered.json")


class Registration(BaseModel):
    """Methods, controls, seeds and measure. The primary comparison is the first method minus the first control."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    task: str
    methods: list[str]
    """First the one that counts. Each is compared with every control, and corrected for the number of all of these."""
    controls: list[str]
    """First the best one on the tuning seeds."""
    measure: str
    """`final` or `area`."""
    seeds: list[int]
    """None of them took part in any choice."""
    test: str
    """In words; `compare.py` is it in code."""

    @property
    def primary(self) -> tuple[str, str, str]:
        """Method, control and measure of the primary comparison."""
        return self.methods[0], self.controls[0], self.measure

    @property
    def everyone(self) -> list[str]:
        """Methods and controls that run on all seeds."""
        return [*self.methods, *self.controls]


def registered() -> Registration:
    """What has been registered."""
    return Registration.model_validate_json(FILE.read_text())
