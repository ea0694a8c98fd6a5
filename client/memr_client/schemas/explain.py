"""`POST /runs/{id}/explain`: how a reward comes about."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from memr_client.schemas.reward import Embeddings
from memr_client.schemas.wire import Count, Finite, ResponseModel, Text, Wire


class Explain(Wire):
    """`POST /runs/{id}/explain`: a prompt and a completion as they would be scored now, or a stored item."""

    prompt: Text | None = None
    completion: Text | None = None
    outcome: Finite = 0.0
    """What the verifier would give: some components and guards ask for it."""
    prompt_id: Annotated[str, Field(strict=True)] | None = None
    """The prompt's identity, where the run's requests send one."""
    embeddings: Embeddings | None = None
    """One row each, instead of the server's encoder."""
    position: Annotated[int, Field(ge=1, strict=True)] | None = None
    """The record of a stored item: its answer said it."""
    item: Count | None = None
    """The item's place in that record (which may hold several requests, where the run has a barrier)."""
    serial: Count | None = None
    """Or the stored item's number, as neighbours and points of a map have it."""
    neighbours: Annotated[int, Field(ge=0, le=200, strict=True)] = 10
    """Most neighbours of either memory to tell of, the most similar first."""

    @model_validator(mode="after")
    def _one_way(self) -> Explain:
        stored = self.position is not None and self.item is not None
        given = self.prompt is not None and self.completion is not None
        half = (self.position is None) != (self.item is None) or (self.prompt is None) != (self.completion is None)
        if half or [stored, given, self.serial is not None].count(True) != 1:
            raise ValueError("name either prompt and completion, or position and item of a record, or a serial number")
        return self


class Neighbour(ResponseModel):
    """A stored completion that an item read."""

    serial: int
    """Which of all completions the run ever took, from 0."""
    similarity: float
    """Cosine to the item's completion."""
    outcome: float
    count: int
    """How many completions it stands for."""
    own_prompt: bool
    """Whether it was stored under the item's own prompt."""
    step: int | None = None
    """The trainer's step that brought it; null where it named none, or the journal does not reach back."""
    prompt: str | None = None
    completion: str | None = None
    """The texts, where they are still kept."""


class MemoryRead(ResponseModel):
    """What an item read in one memory."""

    prompts: int
    """How many prompts' completions, at most K."""
    completions: int
    """How many of them, the one held out not counted; those that were merged count each."""
    entries: int
    """How many of them are entries of their own: fewer where the run merges."""
    centroid_distance: float | None
    """Distance of the item to their mean; null where nothing was read."""
    largest_cosine: float | None
    neighbours: list[Neighbour]
    """The most similar of them."""


class WindowPlace(ResponseModel):
    """A component's window as the item found it, itself included."""

    count: int
    low: float
    high: float
    """What scales to 0 and to 1."""


class ComponentTerm(ResponseModel):
    """How one component came to its part of the reward."""

    raw: float | None
    scaled: float
    weight: float
    contribution: float
    """What it adds to the sum, after annealing and caps."""
    window: WindowPlace | None
    """Null where the component has no window, or no value."""
    rejected: list[str]
    """Guards that fired."""


class Explanation(ResponseModel):
    """The answer to `POST /runs/{id}/explain`. Nothing was changed."""

    run_id: str
    branch: int
    position: int
    """The records the item was scored after."""
    prompt: str | None
    completion: str | None
    outcome: float
    reward: float
    components: dict[str, ComponentTerm]
    held_to_spread: float
    """What `max_spread` took off the sum of the contributions."""
    success: MemoryRead
    failure: MemoryRead
    warmup: dict[str, int]
