"""What is trained and compared: three lists, each written before its seeds were run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

FOLDER = Path(__file__).parent

LONGEST_SUM = 64
"""Most tokens of a completion of `chain-sum`."""
CHAIN_SUM, DEAD = "chain-sum", "dead-"

Pool = float | Annotated[str, StringConstraints(pattern=rf"^({CHAIN_SUM}|{DEAD}0(\.\d+)?)$")]
"""The `dead_share` of `dial-pool`; behind `dead-`, that of `dial-dead`; or the task of reasoning-gym's questions."""


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


class Registration(BaseModel):
    """`registered.json`. The primary comparison is the first method minus the first control."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dead_share: float
    methods: list[str]
    controls: list[str]
    measure: str
    seeds: list[int]
    test: str


class Dead(BaseModel):
    """`dead.json`: the same questions with short ones that are easy. The primary comparison is the first pair."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    primary: Part
    curve: Part
    controls: Part
    small_groups: Part
    measure: str
    test: str


class ReasoningGym(BaseModel):
    """`reasoning_gym.json`: a pool whose mix is not made here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: Part
    measure: str
    test: str


def registered() -> Registration:
    """Read the first list."""
    return Registration.model_validate_json((FOLDER / "registered.json").read_text())


def parts() -> dict[str, Part]:
    """Everything that is trained, by the name of its part."""
    first = registered()
    dead = Dead.model_validate_json((FOLDER / "dead.json").read_text())
    return {
        "dead": dead.primary,
        "curve": dead.curve,
        "controls": dead.controls,
        "small-groups": dead.small_groups,
        "reasoning-gym": ReasoningGym.model_validate_json((FOLDER / "reasoning_gym.json").read_text()).part,
        "mixed": Part(
            pools=[first.dead_share],
            arms=[*first.controls, *first.methods],
            pairs=[(method, control) for method in first.methods for control in first.controls],
            seeds=first.seeds,
        ),
    }


def fields_of(pool: Pool) -> dict[str, object]:
    """The fields of `Config` that choose a pool."""
    if isinstance(pool, float):
        return {"task": "dial-pool", "dead_share": pool}
    if pool == CHAIN_SUM:
        return {"task": CHAIN_SUM, "max_completion": LONGEST_SUM}
    return {"task": "dial-dead", "dead_share": float(pool.removeprefix(DEAD))}
