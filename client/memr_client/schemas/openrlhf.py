"""OpenRLHF's remote-reward protocol."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from memr_client.schemas.wire import Finite, RequestId, ResponseModel, Wire


class OpenRLHFRequest(Wire):
    """`POST /openrlhf/{run_id}`: n samples as OpenRLHF sends them, mostly one; fields it may add are passed over."""

    model_config = ConfigDict(extra="ignore")

    query: list[Annotated[str, Field(strict=True)]]
    """Prompt and completion in one text, special tokens included."""
    prompts: list[Annotated[str, Field(strict=True)]]
    """The prompt of each, in the chat template's dress."""
    labels: list[Any]
    """The right answer of each, a text or a number; or `{"answer": ..., "split": "test"}`, which the memory does not
    remember (nor "eval" and "validation")."""
    outcomes: list[Finite] | None = None
    """memr's own: the outcome of each, where the caller judges; else the run's verifier does, by the labels."""
    request_id: RequestId | None = None
    """memr's own: the same id with the same body gets the stored answer."""

    @model_validator(mode="after")
    def _columns_have_one_length(self) -> OpenRLHFRequest:
        columns = {"query": self.query, "prompts": self.prompts, "labels": self.labels, "outcomes": self.outcomes}
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"all columns must have one length, but have {lengths}")
        return self


class OpenRLHFResponse(ResponseModel):
    """The answer to `POST /openrlhf/{run_id}`, in the order of the samples."""

    rewards: list[float]
    """outcome + memory_weight * memory reward."""
    scores: list[float]
    """The outcomes, by which OpenRLHF filters groups."""
    extra_logs: dict[str, list[float]]
    """The parts; always under the same names. A component's raw value is 0 where `NAME_defined` is 0."""
