"""`POST /reward`: the request and its response."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from memr_client.schemas.loose import (
    answers_as_texts,
    booleans_as_numbers,
    numbers_as_booleans,
    numbers_as_texts,
    whole_numbers,
)
from memr_client.schemas.wire import (
    NUMBER_TOO,
    Count,
    Finite,
    Matrix,
    Name,
    RequestId,
    ResponseModel,
    Row,
    Spread,
    Texts,
    Whole,
    Wire,
    unfit,
)

MOST_PARTS = 65_536
"""Most ranks that share a step."""

Outcomes = Annotated[
    list[Annotated[Finite, WithJsonSchema({"type": ["number", "boolean"]})]],
    Field(fail_fast=True),
    BeforeValidator(booleans_as_numbers),
]
"""Finite numbers; true counts as 1, false as 0."""

Id = Annotated[str, Field(strict=True, json_schema_extra=NUMBER_TOO)]
Ids = Annotated[list[Id], Field(fail_fast=True), BeforeValidator(numbers_as_texts)]
"""Texts; an integer counts as its digits."""

Answer = Annotated[str, Field(strict=True), WithJsonSchema({"type": ["string", "number"]})]
Answers = Annotated[list[Answer | None], Field(fail_fast=True), BeforeValidator(answers_as_texts)]
"""Texts or null; a number counts as its digits."""

Flag = Annotated[bool, Field(strict=True), WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}]})]
Flags = Annotated[list[Flag], Field(fail_fast=True), BeforeValidator(numbers_as_booleans)]
"""true or false; 1 and 0 count as these."""


class Embeddings(Wire):
    """Embeddings that the caller computed, of at most 16,384 dimensions. The service normalises each row to unit
    length."""

    prompts: Matrix
    """One row for each item, or with `prompt_of` for each distinct prompt."""
    completions: Matrix
    """One row for each item (n, d)."""
    prompt_of: Annotated[list[Row], Field(fail_fast=True)] | None = None
    """Row of `prompts` for each item (n), where items share rows (the items of a group have one prompt); null: row i
    belongs to item i."""


class RewardRequest(Wire):
    """`POST /reward`: n completions with their prompts and outcomes, one column per field."""

    run_id: Name
    """Name of the run: a letter or digit, then up to 127 letters, digits, dots, underscores or hyphens. An unknown run
    is created with the server's defaults, if the request trains and has completions."""
    prompts: Texts
    """q: the prompt of each completion, as a text or as a list of chat messages, of which the content of the last
    `user` message is encoded."""
    completions: Texts
    """a: what the policy wrote (n), each a text or a list of chat messages, of which the assistant's are read."""
    outcomes: Outcomes
    """R: the verifier's reward for each completion."""
    step: Count | None = None
    """The trainer's step."""
    part: Annotated[int, Field(ge=0, lt=MOST_PARTS, strict=True), Whole] | None = None
    """This rank, from 0, where several ranks share a step's batch."""
    parts: Annotated[int, Field(ge=1, le=MOST_PARTS, strict=True), Whole] | None = None
    """Number of ranks (the world size), at most 65,536."""
    prompt_ids: Ids | None = None
    """Identity of each prompt. Default: the prompt itself."""
    group_ids: Ids | None = None
    """Group of each completion: equal for completions that were sampled together. Default: the prompt's identity."""
    index: Annotated[list[Row], Field(fail_fast=True), BeforeValidator(whole_numbers)] | None = None
    """Position of each completion in its group."""
    answers: Answers | None = None
    """Final answer extracted from each completion, for components that compare answers, and for suspects. Null: the
    run's `extract` finds it."""
    references: Answers | None = None
    """The right answer of each completion's prompt, as the data set has it: suspects are found among them. The newest
    of a prompt counts."""
    labels: Answers | None = None
    """Class of each completion, for components that compare classes."""
    truncated: Flags | None = None
    """Whether the trainer cut the completion at its length limit."""
    equal_spread: Spread | None = None
    """Used in place of the run's `equal_spread`: 0 for a trainer that divides rewards by their deviation in the group,
    which would enlarge them to the whole advantage where all outcomes are equal."""
    request_id: RequestId | None = None
    """A second request with the same id and body gets the stored response and changes nothing."""
    mode: Literal["train", "eval"] = "train"
    """`eval` reads the memory and changes nothing."""
    embeddings: Embeddings | None = None
    """Embeddings of the prompts and completions (n, d), instead of the server's encoder."""

    @model_validator(mode="after")
    def _columns_have_one_length(self) -> RewardRequest:
        n = len(self.prompts)
        ids, texts = ("prompt_ids", "group_ids", "index"), ("answers", "references", "labels")
        columns = ("completions", "outcomes", *ids, *texts, "truncated")
        wrong = {name: len(column) for name in columns if (column := getattr(self, name)) is not None}
        wrong = {name: length for name, length in wrong.items() if length != n}
        if wrong:
            lengths = ", ".join(f"{name} {length}" for name, length in wrong.items())
            raise unfit(f"all columns must have the length of prompts, {n}, but {lengths}", wrong, n)
        sent = {"part": self.part, "parts": self.parts}
        if (self.part is None) != (self.parts is None):
            raise unfit("part and parts go together: send both or neither", sent, "both or neither")
        if self.part is not None and self.parts is not None and self.part >= self.parts:
            wrong_part = f"part {self.part} of {self.parts}: parts are numbered from 0 to {self.parts - 1}"
            raise unfit(wrong_part, sent, f"part of 0 to {self.parts - 1}")
        return self


class ComponentValues(ResponseModel):
    """One component's values for a request's items (n)."""

    raw: list[float | None]
    """Before the window; null where the component has no value, for example because nothing was read."""
    scaled: list[float]
    """Scaled by the window; 0 where `raw` is null."""


class Support(ResponseModel):
    """How many completions each item read from either memory (n)."""

    success: list[int]
    failure: list[int]


class Guards(ResponseModel):
    """What kept an item from part of its reward."""

    rejected: list[list[str]]
    """For each item a list of reasons: "component:reason" lowered its reward, "memory:reason" kept it out of the
    memory."""


class MemorySize(ResponseModel):
    """What a memory holds."""

    prompts: int
    completions: int


class MemorySizes(ResponseModel):
    """Sizes of both memories."""

    success: MemorySize
    failure: MemorySize


class Timing(ResponseModel):
    """How long each stage of a request took, in milliseconds."""

    queue: float
    encode: float
    score: float
    commit: float
    total: float


class RewardResponse(ResponseModel):
    """Response of `POST /reward`; lists follow the order of the request's items."""

    run_id: str
    branch: int
    position: int
    """Number of the run's records after this request."""
    chain: str
    """Running SHA-256 over the records' effects (hex). Runs with equal chains have equal states."""
    rewards: list[float]
    """R_mem: the weighted sum of the scaled components."""
    components: dict[str, ComponentValues]
    support: Support
    guards: Guards
    warmup: dict[str, int]
    """Component -> how many steps it still waits for, then how many failure prompts; 0: it is on."""
    warnings: list[str]
    """What the caller should know about this request, for example texts that were cut or a barrier that timed out."""
    why_zero: list[str] = Field(default_factory=list)
    """Why rewards are 0: for each cause the components, how many completions it holds for, and the cause in words.
    Empty if no reward is 0."""
    baseline: list[float | None] | None = None
    """The pass rate of each completion's prompt before this request: the share of right completions, of which those
    before a visit count half; null where the prompt has not been seen. Null for runs without pass rates."""
    outcomes_used: list[float] | None = None
    """The outcome of each completion that counts, where the run repairs: those sent, but where `repaired` says
    otherwise. Train on these. Null for runs that do not repair."""
    repaired: list[str | None] | None = None
    """Why an outcome was not used as it was sent, for each completion; null: it was. Null for runs that do not
    repair."""
    turns: list[list[float]] | None = None
    """The rewards of each completion's turns, in their order, where the run's unit is the turn; `rewards` and all other
    columns say what the completion gets for them (`combine_turns`). Null for other runs."""
    memory: MemorySizes
    """Sizes after this request."""
    timing_ms: Timing
