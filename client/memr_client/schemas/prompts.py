"""`/runs/{id}/prompts` and `/runs/{id}/pass-rates`: what a run knows of its prompts."""

from __future__ import annotations

from typing import Literal, TypedDict

from pydantic import Field

from memr_client.schemas.wire import ResponseModel

PromptKind = Literal["solved", "learnable", "impossible", "unseen"]
"""`solved`, `impossible`: the outcomes of the next group are all right, or all wrong, with probability .9 or more.
`unseen`: nothing is known of the prompt. `learnable`: the others."""


class PromptPage(TypedDict, total=False):
    """Filters, order and page of `GET /runs/{id}/prompts`."""

    offset: int
    """Number of prompts to skip."""
    limit: int
    """Most prompts on the page, up to 200. Default: 50."""
    sort: str
    """`step` (of the last visit), `p`, `spread` or `visits`. Default: `step`."""
    ascending: bool
    """Smallest first. Default: largest or newest first."""
    kind: PromptKind | None
    """Only prompts of this kind."""
    visited: bool | None
    """True: only prompts that this run has visited. False: only others."""
    text: str
    """Only prompts whose id or text contains this text, in any case."""


class PromptKinds(ResponseModel):
    """How many prompts are of each kind."""

    solved: int
    learnable: int
    impossible: int
    unseen: int


class KnownPrompt(ResponseModel):
    """What is known of a prompt."""

    key: str
    """Its identity (hex)."""
    prompt_id: str | None
    """Its id; null if it is not in the run's pool."""
    prompt: str | None
    """The beginning of its text; null if it is not kept."""
    kind: PromptKind
    p: float
    """Expected pass rate."""
    low: float
    """The pass rate is below this with probability .05."""
    high: float
    """The pass rate is above this with probability .05."""
    spread: float
    """Probability that the outcomes of its next group differ."""
    visits: int
    """How often this run has visited it."""
    step: int | None
    """The step of the last visit. Of runs without steps, how many requests there had been before it."""
    source: Literal["own", "prior", "none"]
    """What the pass rate comes from: this run's outcomes, those of prior runs, or nothing but the other prompts'."""


class KnownPrompts(ResponseModel):
    """`GET /runs/{id}/prompts`: one page of the prompts that the run knows or has in its pool."""

    rows: list[KnownPrompt]
    matching: int
    """Number of matching prompts on all pages."""
    searched: int | None = None
    """Number of prompts that were searched for `text`, the first in the order asked for; null without `text`."""
    kinds: PromptKinds
    """All prompts by kind, whatever the filters."""
    histogram: list[int]
    """How many prompts of which something is known have their `p` in each of 20 equal intervals from 0 to 1."""
    group_size: int
    """The size of the group that `spread` and `kind` are about: the run's, or else the usual one of its groups."""
    position: int
    """The newest record that was considered."""


class PromptVisit(ResponseModel):
    """The completions of a prompt with one step, or those in one record that names no step."""

    position: int
    """Its last record."""
    step: int | None
    right: int
    n: int
    p: float
    """Share of right completions after it, those before each visit counting half."""


class PromptAnswer(ResponseModel):
    """One answer that a run's completions gave to a prompt."""

    answer: str
    completions: int
    """How many gave it."""
    visits: int
    """In how many visits."""
    right: int
    """How many of them were judged right, since the reference last changed."""
    wrong: int
    """How many were judged wrong since then."""
    serial: int
    """Serial number of the newest completion that gave it."""


class PromptHistory(ResponseModel):
    """`GET /runs/{id}/prompts/{key}`: one prompt's visits in order, and its answers."""

    prompt: KnownPrompt
    visits: list[PromptVisit]
    reference: str | None = None
    """The right answer as it was sent last; null if none was."""
    answers: list[PromptAnswer] = Field(default_factory=list)
    """The answers that are counted, the most frequent first; none where neither answers nor a reference are known."""
    first_position: int
    """First record that was considered. Of a long run only the newest records are."""
    position: int
    """Last record that was considered."""


class PassRatesAt(ResponseModel):
    """The pass rates after some record."""

    position: int
    step: int | None
    """The newest step; null for a run without steps."""
    histogram: list[int]
    """How many known prompts have their expected pass rate in each of 20 equal intervals from 0 to 1."""
    solved: int
    learnable: int
    impossible: int


class PassRatesOverSteps(ResponseModel):
    """`GET /runs/{id}/pass-rates`: how the pass rates of the prompts moved."""

    rows: list[PassRatesAt]
    first_position: int
    """First record that was considered. Of a long run only the newest records are; prompts count from their first visit
    among these."""
    group_size: int
