"""`POST /openrlhf/{run_id}`: OpenRLHF's remote-reward protocol."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from memr_client.schemas.reward import Outcomes
from memr_client.schemas.wire import RequestId, ResponseModel, Spread, Wire, unfit


class OpenRLHFRequest(Wire):
    """`POST /openrlhf/{run_id}`: n samples as OpenRLHF sends them, usually one. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    query: Annotated[list[Annotated[str, Field(strict=True)]], Field(fail_fast=True)]
    """Prompt and completion in one text, special tokens included."""
    prompts: Annotated[list[Annotated[str, Field(strict=True)]], Field(fail_fast=True)]
    """Prompt of each sample, rendered by the chat template."""
    labels: list[Any]
    """Right answer of each sample: a text, a number, a list of one of them, or `{"answer": ..., "split": ...}`.
    A sample whose split is not training ("train") is scored and not remembered."""
    outcomes: Outcomes | None = None
    """An addition of memr: the outcome of each sample. Without it, the run's verifier compares with the labels."""
    equal_spread: Spread | None = None
    """An addition of memr: used in place of the run's `equal_spread`. Default: 0, see the route."""
    request_id: RequestId | None = None
    """An addition of memr: a second request with the same id and body gets the stored response."""

    @model_validator(mode="after")
    def _columns_have_one_length(self) -> OpenRLHFRequest:
        columns = {"query": self.query, "prompts": self.prompts, "labels": self.labels, "outcomes": self.outcomes}
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise unfit(f"all columns must have one length, but have: {said}", lengths, "one length")
        return self


class OpenRLHFResponse(ResponseModel):
    """Response of `POST /openrlhf/{run_id}`, in the order of the samples."""

    rewards: list[float]
    """outcome + memory_weight * memory reward."""
    scores: list[float]
    """The outcomes; OpenRLHF filters groups by them."""
    extra_logs: dict[str, list[float]]
    """The reward's parts, under the same names in every response. A raw value that does not exist is 0, with
    `NAME_defined` 0."""
    warnings: list[str] = Field(default_factory=list)
    """An addition of memr, as in the response of `POST /reward`. OpenRLHF ignores it; the service's log has it too."""
