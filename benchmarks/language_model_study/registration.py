"""What is trained and compared: `registered.json` was written before its seeds were run."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).with_name("registered.json")


class Registration(BaseModel):
    """Arms, comparisons, seeds and measure. The first comparison is the primary one."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    task: str
    steps: int
    seeds: list[int]
    queue: list[tuple[list[str], int]]
    """Arms, and on how many of the first seeds, in the order in which they are trained."""
    pairs: list[tuple[str, str]]
    """A method, and its control."""
    measure: str
    test: str

    @property
    def arms(self) -> list[str]:
        """All arms, in the order of the queue."""
        return list(dict.fromkeys(arm for arms, _ in self.queue for arm in arms))

    def other(self, seed: int) -> int:
        """The seed of the training that a prior comes from: of the first two seeds and so on, the other one."""
        place = self.seeds.index(seed)
        return self.seeds[place ^ 1]


def registered() -> Registration:
    """Read the registration."""
    return Registration.model_validate_json(FILE.read_text())
