"""`/nemo-gym/{run_id}/...`: NeMo Gym's protocol of a resources server (nemo-gym 0.7)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from memr_client.schemas.loose import number_as_text
from memr_client.schemas.reward import Id
from memr_client.schemas.wire import ResponseModel, Row, Spread, Whole

TextId = Annotated[Id, BeforeValidator(number_as_text)]


class ResponsesInput(BaseModel):
    """What the policy was asked, in OpenAI's Responses form. Unknown fields are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    input: Annotated[str, Field(strict=True)] | list[dict[str, Any]]
    """A question, or messages, tool calls and their outputs."""
    instructions: str | None = None
    """The system message."""


class ResponsesOutput(BaseModel):
    """What the policy wrote, in OpenAI's Responses form. Unknown fields are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: str | None = None
    """By which two equal completions are told from one that is sent again."""
    output: list[dict[str, Any]]
    """Messages, reasoning, tool calls and their outputs."""


class NeMoGymVerify(BaseModel):
    """`POST /nemo-gym/{run_id}/verify`: one rollout. Other fields of the task are returned as they came."""

    model_config = ConfigDict(extra="allow", frozen=True)

    responses_create_params: ResponsesInput
    response: ResponsesOutput
    expected_answer: Any = None
    """The right answer: a text, a number, or a list of one of them. Else `expected_answer` of `verifier_metadata`."""
    verifier_metadata: dict[str, Any] | None = None
    """`expected_answer` and `split` are looked for here, too."""
    split: str | None = None
    """A rollout of another split than training ("train") is scored and not remembered."""
    group_id: TextId | None = Field(None, alias="_ng_group_id")
    """The rollout's group, where NeMo Gym names one. Default: the prompt's."""
    group_attempt: Annotated[Row, Whole] = Field(0, alias="_ng_group_attempt")
    rollout_index: Annotated[Row, Whole] | None = Field(None, alias="_ng_rollout_index")
    """The rollout's place in its group."""
    equal_spread: Spread | None = None
    """An addition of memr: used in place of the run's `equal_spread`. Default: 0, see the route."""


class NeMoGymVerified(ResponseModel):
    """Response of `POST /nemo-gym/{run_id}/verify`: the request's fields and these. The parts of the reward are there
    as numbers under `memr_...`, the same names in every response."""

    model_config = ConfigDict(extra="allow", frozen=True)

    reward: float
    """outcome + memory_weight * memory reward."""
    reward_components: dict[str, float]
    """`outcome` and `memory`, whose sum is the reward."""
    mask_sample: bool
    """Whether the verifier did not judge the completion in time, so that the reward says nothing about it."""
    failure_kind: str | None
    failure_reason: str | None


class NeMoGymSeed(BaseModel):
    """`POST /nemo-gym/{run_id}/seed_session` and `.../close_session`. memr keeps nothing for a session."""

    model_config = ConfigDict(extra="allow", frozen=True)

    resources_session_id: str | None = None


class NeMoGymSession(ResponseModel):
    """Response of `.../seed_session` and `.../close_session`."""

    resources_session_id: str | None = None
    """As it was sent; left out if none was."""


class NeMoGymResults(BaseModel):
    """`POST /nemo-gym/{run_id}/aggregate_metrics`: what `/verify` returned for each rollout of an evaluation."""

    model_config = ConfigDict(extra="allow", frozen=True)

    verify_responses: list[dict[str, Any]]
    """Each with `_ng_task_index`, `_ng_rollout_index` and numbers. Those with `mask_sample` do not count."""


class NeMoGymAggregates(ResponseModel):
    """Response of `.../aggregate_metrics`: statistics of every number, as "mean/reward"."""

    agent_metrics: dict[str, float]
    """Over all rollouts."""
    key_metrics: dict[str, float]
    """The means among them."""
    group_level_metrics: list[dict[str, float]]
    """For each task, with its `_ng_task_index`."""
    repeat_level_metrics: list[dict[str, float]]
    """For each `_ng_rollout_index`, if there are several."""


ReverifyMode = Literal["stateless", "unsupported"]
"""Whether NeMo Gym may ask for the same rewards again: a memory has moved on since, so only without its part."""
