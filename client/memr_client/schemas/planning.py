"""`/runs/{id}/pool`, `/runs/{id}/plan` and `/runs/{id}/backtest`: which prompts to sample next."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from memr_client.schemas.loose import numbers_as_texts
from memr_client.schemas.reward import Id
from memr_client.schemas.wire import Count, Finite, Name, ResponseModel, Text, Whole, Wire

MOST_IN_POOL = 1_000_000
"""Most prompts in a pool, or in one list of candidates."""
MOST_PICKS = 100_000
"""Most prompts that one plan picks."""
MOST_IN_PLANNED_GROUP = 1024
"""Most completions of a group that a plan foresees."""
MOST_COUNTED = 1e9
"""Most completions of one prompt that a prior counts."""
MOST_PRIOR_RUNS = 16
"""Most prior runs of a run."""

PoolIds = Annotated[
    list[Id], Field(fail_fast=True, min_length=1, max_length=MOST_IN_POOL), BeforeValidator(numbers_as_texts)
]
"""At least one id; an integer counts as its digits."""
Objective = Literal["spread", "variance", "target"]


class PriorRun(Wire):
    """An earlier run whose pass rates a new run starts from."""

    run: Name
    weight: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False, strict=True)] = 1.0
    """Factor of its counts of right and wrong completions. Its answers count as they are."""
    at: Annotated[str, Field(min_length=1, max_length=128, strict=True)] = "first"
    """`first`: each prompt's first two visits, before the run taught the prompt. `last`: what the run knows at its
    end. Any other text: what it knew at the checkpoint of that name. With `first`, answers count as with `last`."""


def _names_as_priors(given: Any) -> Any:
    """Before a list of `PriorRun`: a text is the name of a run."""
    return [{"run": one} if isinstance(one, str) else one for one in given] if isinstance(given, list) else given


PriorRuns = Annotated[list[PriorRun], Field(max_length=MOST_PRIOR_RUNS), BeforeValidator(_names_as_priors)]


class PriorOutcomes(Wire):
    """`POST /runs/{id}/prior`: counts of right completions that a run without completions starts from."""

    prompt_ids: PoolIds | None = None
    prompts: Annotated[list[Text], Field(fail_fast=True, min_length=1, max_length=MOST_IN_POOL)] | None = None
    """Their texts; needed where there are no ids."""
    right: Annotated[list[Annotated[Finite, Field(ge=0, le=MOST_COUNTED)]], Field(fail_fast=True)]
    """Right completions of each prompt."""
    n: Annotated[list[Annotated[Finite, Field(gt=0, le=MOST_COUNTED)]], Field(fail_fast=True)]
    """All completions of each prompt."""

    @model_validator(mode="after")
    def _columns_fit(self) -> PriorOutcomes:
        given = self.prompt_ids if self.prompt_ids is not None else self.prompts
        if given is None:
            raise ValueError("prompt_ids and prompts are both missing: send one of them, or both")
        columns = {"prompt_ids": self.prompt_ids, "prompts": self.prompts, "right": self.right, "n": self.n}
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"all columns must have one length, but {lengths}")
        for item, (right, n) in enumerate(zip(self.right, self.n, strict=True)):
            if right > n:
                raise ValueError(f"right[{item}] is {right}, but n[{item}] is {n}")
        return self


class PoolRequest(Wire):
    """`PUT /runs/{id}/pool`: the prompts that a run may plan from."""

    prompt_ids: PoolIds
    prompts: Annotated[list[Text], Field(fail_fast=True, max_length=MOST_IN_POOL)] | None = None
    """Their texts, by which prompts are found whose ids differ between runs, or that are sent without ids."""

    @model_validator(mode="after")
    def _columns_fit(self) -> PoolRequest:
        if self.prompts is not None and len(self.prompts) != len(self.prompt_ids):
            raise ValueError(f"prompts has length {len(self.prompts)}, but prompt_ids {len(self.prompt_ids)}")
        return self


class PoolInfo(ResponseModel):
    """A run's pool."""

    prompts: int
    """How many prompts it has; 0: there is no pool."""
    digest: str | None
    """SHA-256 (hex) of its ids and texts; null if there is no pool."""
    since: int
    """Position of the record that set it. Plans as of earlier positions are refused."""
    visited: int
    """How many of its prompts this run has visited."""
    prior: int
    """How many more are known from prior runs."""
    waiting: int = 0
    """How many parts of a new pool have come; it takes effect with the last."""
    warnings: list[str] = Field(default_factory=list)
    """What the caller should know about it."""


class PlanRequest(Wire):
    """`POST /runs/{id}/plan`: which prompts to sample next. It reads, and changes nothing."""

    n: Annotated[int, Field(ge=1, le=MOST_PICKS, strict=True), Whole]
    """How many prompts to pick."""
    group_size: Annotated[int, Field(ge=2, le=MOST_IN_PLANNED_GROUP, strict=True), Whole]
    """How many completions will be sampled for each."""
    candidates: PoolIds | None = None
    """Ids of the prompts to choose from. Null: the run's pool."""
    prompts: Annotated[list[Text], Field(fail_fast=True, max_length=MOST_IN_POOL)] | None = None
    """Texts of the candidates, by which they are found where the run got no ids, or others."""
    exclude: Annotated[list[Id], Field(fail_fast=True, max_length=MOST_IN_POOL), BeforeValidator(numbers_as_texts)] = (
        Field(default_factory=list)
    )
    """Ids not to pick, for example those that are being sampled now. Others than candidates are passed over."""
    step: Count | None = None
    """The step that is planned. Null: the one after the newest step."""
    position: Count | None = None
    """Plan with what was known after this record, which is one of the last 64. Null: after the newest."""
    objective: Objective = "spread"
    """`spread`: probability that the outcomes of a group differ. `variance`: of one outcome, four times. `target`: how
    near the pass rate is to one half."""

    @model_validator(mode="after")
    def _columns_fit(self) -> PlanRequest:
        if self.prompts is not None and len(self.prompts) != len(self.candidates or []):
            raise ValueError(f"prompts has length {len(self.prompts)}, but candidates {len(self.candidates or [])}")
        return self


class Pick(ResponseModel):
    """A prompt to sample."""

    prompt_id: str
    p: float
    """Expected pass rate."""
    low: float
    """The pass rate is below this with probability .05."""
    high: float
    """The pass rate is above this with probability .05."""
    spread: float
    """Probability that the outcomes of its group differ."""
    visits: int
    """How often this run has visited it."""
    source: Literal["own", "prior", "none"]
    """What the pass rate comes from: this run's outcomes, those of prior runs, or nothing but the other prompts'."""


class Retired(ResponseModel):
    """Candidates of whose groups the outcomes are all equal with probability .9 or more."""

    solved: int
    impossible: int


class Plan(ResponseModel):
    """Which prompts to sample next."""

    position: int
    """The record after which the plan was made."""
    step: int
    """The step that is planned."""
    picks: list[Pick]
    """The best first."""
    expected_spread: float
    """Mean of the picks' `spread`."""
    retired: Retired
    candidates: int
    """How many prompts it was chosen from, without those in `exclude`."""
    known: int
    """Of how many of them something is known."""


class CalibrationBin(ResponseModel):
    """Groups whose `spread` was foreseen in one interval."""

    low: float
    high: float
    groups: int
    foreseen: float | None
    """Mean of what was foreseen; null without groups."""
    seen: float | None
    """Share of the groups whose outcomes differed."""


class Foreseen(ResponseModel):
    """What leaving out groups would have cost, at one limit."""

    limit: float
    """Groups are left out whose outcomes are all equal with at least this probability."""
    equal_left_out: float | None
    """Share of the groups with equal outcomes that would have been left out."""
    spread_left_out: float | None
    """Share of the groups with different outcomes that would have been left out with them."""


class Backtest(ResponseModel):
    """How well the pass rates foresaw a run's groups, each from what was known before it."""

    run_id: str
    groups: int
    """All groups."""
    known: int
    """Groups of prompts that had been visited, or that prior runs had; the figures below are of these."""
    equal: int
    """Groups of them whose outcomes were all equal."""
    auc: float | None
    """Probability that a right completion had a larger foreseen pass rate than a wrong one (ties count half)."""
    brier: float | None
    """Mean squared difference of the foreseen pass rate and the outcome (1 right, 0 wrong)."""
    brier_base: float | None
    """The same with the run's mean pass rate so far in place of the foreseen one."""
    calibration_error: float | None
    """Mean distance of what was foreseen of `spread` and what was seen, over the bins, weighed by their groups."""
    calibration: list[CalibrationBin]
    left_out: list[Foreseen]
