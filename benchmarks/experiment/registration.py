"""The comparison that counts, written down in `registered.json` before its seeds were run."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).with_name("registered.json")


class Registration(BaseModel):
    """One method, one control, the seeds, the measure. The others are compared alike, and corrected for alike."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    task: str
    method: str
    """The best of ours on the tuning seeds."""
    control: str
    """The best control on the tuning seeds: the primary comparison is `method` minus `control`."""
    others: list[str]
    """Controls that the method is compared with as well, on the same seeds."""
    measure: str
    """`final` or `area`."""
    seeds: list[int]
    """None of them took part in any choice."""
    test: str
    """In words; `compare.py` is it in code."""

    @property
    def controls(self) -> list[str]:
        """All that the method is compared with: their number is what intervals are corrected for."""
        return [self.control, *self.others]


def registered() -> Registration:
    """What has been registered."""
    return Registration.model_validate_json(FILE.read_text())
