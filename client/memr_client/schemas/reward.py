"""`POST /reward`: what is asked, and the answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from memr_client.schemas.wire import Count, Finite, Matrix, Name, RequestId, ResponseModel, Text, Wire


class Embeddings(Wire):
    """Embeddings the caller made; the service normalises the rows to unit length."""

    prompts: Matrix
    completions: Matrix
    prompt_of: list[Count] | None = None
    """The row of `prompts` that each item has (n), where not every item has its own: the items of a group share one."""


class RewardRequest(Wire):
    """`POST /reward`: n completions with their prompts and outcomes, in columns."""

    run_id: Name
    prompts: list[Text]
    completions: list[Text]
    outcomes: list[Finite]
    """R: the verifier's reward for each completion."""
    step: Count | None = None
    """The trainer's step."""
    part: Count | None = None
    """This rank, where a step's batch is spread over several."""
    parts: Annotated[int, Field(ge=1, strict=True)] | None = None
    """How many ranks there are."""
    prompt_ids: list[Annotated[str, Field(strict=True)]] | None = None
    """Identity of each prompt; the prompt itself where not sent."""
    group_ids: list[Annotated[str, Field(strict=True)]] | None = None
    """Which completions were sampled together; the prompt's identity where not sent."""
    index: list[Count] | None = None
    """Place of each completion in its group."""
    answers: list[Annotated[str, Field(strict=True)] | None] | None = None
    """The extracted final answers."""
    labels: list[Annotated[str, Field(strict=True)] | None] | None = None
    """A class for each completion, for components that compare classes."""
    truncated: list[Annotated[bool, Field(strict=True)]] | None = None
    """Whether the trainer cut the completion at its length limit."""
    request_id: RequestId | None = None
    """The same id with the same body gets the stored answer and changes nothing."""
    mode: Literal["train", "eval"] = "train"
    """`eval` reads and leaves everything untouched."""
    embeddings: Embeddings | None = None

    @model_validator(mode="after")
    def _columns_have_one_length(self) -> RewardRequest:
        n = len(self.prompts)
        columns = ("completions", "outcomes", "prompt_ids", "group_ids", "index", "answers", "labels", "truncated")
        wrong = {name: len(column) for name in columns if (column := getattr(self, name)) is not None}
        wrong = {name: length for name, length in wrong.items() if length != n}
        if wrong:
            lengths = ", ".join(f"{name} {length}" for name, length in wrong.items())
            raise ValueError(f"all columns must have the length of prompts, {n}, but {lengths}")
        if (self.part is None) != (self.parts is None):
            raise ValueError("part and parts go together: send both or neither")
        if self.part is not None and self.parts is not None and self.part >= self.parts:
            raise ValueError(f"part {self.part} of {self.parts}: parts are numbered from 0 to {self.parts - 1}")
        return self


class ComponentValues(ResponseModel):
    """One component's values for a request's items, raw and after the window."""

    raw: list[float | None]
    """Null where nothing was read."""
    scaled: list[float]


class Support(ResponseModel):
    """How many completions each item's two reads returned."""

    success: list[int]
    failure: list[int]


class Guards(ResponseModel):
    """What kept an item from part of its reward."""

    rejected: list[list[str]]
    """For each item the reasons ("component:reason"), empty where none. "memory:reason" kept it out of the memory."""


class MemorySize(ResponseModel):
    """How much a memory holds."""

    prompts: int
    completions: int


class MemorySizes(ResponseModel):
    """Both memories' sizes."""

    success: MemorySize
    failure: MemorySize


class Timing(ResponseModel):
    """Where a request's time went, in milliseconds."""

    queue: float
    encode: float
    score: float
    commit: float
    total: float


class RewardResponse(ResponseModel):
    """The answer to `POST /reward`, in the order of the request's items."""

    run_id: str
    branch: int
    position: int
    """How many records the run had after this request."""
    chain: str
    """Running SHA-256 over the records' effects (hex): equal chains, equal states."""
    rewards: list[float]
    """R_mem: the weighted sum of the scaled components."""
    components: dict[str, ComponentValues]
    support: Support
    guards: Guards
    warmup: dict[str, int]
    """Component -> what it still waits for: steps, or once those are there, failure prompts; 0 when it is on."""
    warnings: list[str]
    memory: MemorySizes
    timing_ms: Timing
