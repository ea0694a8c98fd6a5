"""`/runs/{id}/suspects` and `/runs/{id}/decisions`: references and verdicts that the answers seen contradict."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from memr_client.schemas.loose import answer_as_text, number_as_text
from memr_client.schemas.reward import Id
from memr_client.schemas.wire import ResponseModel, Text, Wire

MOST_DECISIONS = 100_000
"""Most decisions of a run."""
MOST_SUSPECTS = 10_000
"""Most labels, and most verdicts, in one response."""


class RunSays(ResponseModel):
    """What one run says about a prompt."""

    run: str
    answer: str
    """The answer that it gave most often."""
    completions: int
    """How many of its completions gave it."""
    of: int
    """How many of its completions gave any answer."""
    accuracy: float | None
    """Share of right completions over all prompts that the run has seen; null if that is not known."""


class SuspectEvidence(ResponseModel):
    """Why a reference is suspected."""

    counts: dict[str, int]
    """Answer -> completions of all runs that gave it, the most frequent first. Equal answers are merged."""
    says_reference: int
    """How many completions gave the reference."""
    completions: int
    """How many completions gave any answer."""
    visits: int
    """How often the prompt was visited, by all runs."""
    sources: int
    """How many runs gave the suspected answer more often than any other."""
    shares: list[float]
    """Share of completions with the suspected answer in each of this run's last visits, oldest first."""
    slope: float | None
    """Least-squares slope of the shares over the visits; null with fewer than two visits."""
    changes: int
    """How often the reference changed in this run."""
    runs: list[RunSays]
    example: str | None
    """The beginning of this run's newest completion that gave the suspected answer; null if its text is not kept."""


class SuspectLabel(ResponseModel):
    """A reference that is likely wrong."""

    prompt_id: str | None
    """The prompt's id; null if it was sent without one."""
    key: str
    """Its identity (hex)."""
    prompt: str | None
    """The beginning of its text; null if it is not kept."""
    reference: str
    """The right answer as the data set, or a decision, has it."""
    answer: str
    """The answer that is given instead."""
    share: float
    """Share of completions that gave it."""
    visits: int
    probability: float
    """Calibrated probability that the reference is wrong; see `calibrated_on`."""
    evidence: SuspectEvidence


class SuspectVerdict(ResponseModel):
    """Verdicts on one answer to one prompt that are likely wrong."""

    kind: Literal["missed", "wrong"]
    """`missed`: judged wrong, although the answer equals the reference. `wrong`: judged right, although it does not."""
    prompt_id: str | None
    key: str
    prompt: str | None
    reference: str
    answer: str
    completions: int
    """How many completions with the answer were judged so."""
    others: int
    """How many completions with the answer were judged otherwise."""
    example: str | None
    """The beginning of the newest completion with the answer; null if its text is not kept."""


class Suspects(ResponseModel):
    """`GET /runs/{id}/suspects`."""

    run_id: str
    runs: list[str]
    """All runs whose answers count: this one, its prior runs, and those asked for."""
    position: int
    """The newest record that was considered."""
    prompts: int
    """How many prompts have answers and a reference."""
    decided: int
    """How many of them have a decision."""
    accused: int
    """How many references are at least as likely wrong as asked for; `labels` has the first of them."""
    min_probability: float
    calibrated_on: str
    """What the probabilities were calibrated on, and how far that carries."""
    labels: list[SuspectLabel]
    """The most probable first."""
    verdicts: list[SuspectVerdict]
    """Those about most completions first. They are counted, not calibrated."""


class Decision(Wire):
    """What was found out about the reference of one prompt."""

    key: Annotated[str, Field(pattern="^[0-9a-f]{32}$", strict=True)] | None = None
    """The prompt's identity (hex), as suspects name it."""
    prompt_id: Annotated[Id, BeforeValidator(number_as_text)] | None = None
    prompt: Text | None = None
    """The prompt's whole text; needed where there is neither key nor id."""
    decision: Literal["replace", "keep"]
    """`replace`: the right answer is `answer`. `keep`: the reference is right."""
    answer: (
        Annotated[
            str,
            Field(strict=True),
            BeforeValidator(answer_as_text),
            WithJsonSchema({"type": ["string", "number"]}),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _is_whole(self) -> Decision:
        if self.key is None and self.prompt_id is None and self.prompt is None:
            raise ValueError("key, prompt_id and prompt are all missing: name the prompt by one of them")
        if self.decision == "replace" and not (self.answer or "").strip():
            raise ValueError("a decision to replace needs the right answer, in `answer`")
        return self


class DecisionsRequest(Wire):
    """`PUT /runs/{id}/decisions`: the decisions that a run has from now on."""

    decisions: Annotated[list[Decision], Field(max_length=MOST_DECISIONS)]
    add: Annotated[bool, Field(strict=True)] = False
    """Keep the decisions that the run has about other prompts."""


class Decided(ResponseModel):
    """A decision about the reference of one prompt, as a run has it."""

    key: str
    """The prompt's identity (hex)."""
    prompt_id: str | None
    """Its id; null if the decision names its text only."""
    decision: Literal["replace", "keep"]
    answer: str | None


class DecisionList(ResponseModel):
    """`GET /runs/{id}/decisions`."""

    decisions: list[Decided]
