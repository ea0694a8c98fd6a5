"""`POST /runs/{id}/explain`: how a reward comes about."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from memr_client.schemas.loose import number_as_text
from memr_client.schemas.reward import Embeddings, Id
from memr_client.schemas.wire import Count, Finite, ResponseModel, Text, Whole, Wire, unfit


class Explain(Wire):
    """`POST /runs/{id}/explain`: explain a new prompt and completion, or an item that the run has scored."""

    prompt: Text | None = None
    completion: Text | None = None
    outcome: Finite = 0.0
    """Outcome of the new completion; some components and guards read it."""
    prompt_id: Annotated[Id, BeforeValidator(number_as_text)] | None = None
    """Identity of the new prompt, where the run's requests send `prompt_ids`."""
    embeddings: Embeddings | None = None
    """Embeddings of the new prompt and completion (one row each), instead of the server's encoder."""
    position: Annotated[int, Field(ge=1, strict=True), Whole] | None = None
    """Record of the scored item: the `position` that its response gave."""
    item: Count | None = None
    """Position of the item in that record, from 0. Under a barrier, one record may hold several requests."""
    serial: Count | None = None
    """Serial number of the scored item, instead of `position` and `item`; neighbours and map points carry it."""
    neighbours: Annotated[int, Field(ge=0, le=200, strict=True), Whole] = 10
    """Number of neighbours to list for each memory, at most; most similar first."""

    @model_validator(mode="after")
    def _one_way(self) -> Explain:
        stored = self.position is not None and self.item is not None
        given = self.prompt is not None and self.completion is not None
        half = (self.position is None) != (self.item is None) or (self.prompt is None) != (self.completion is None)
        if half or [stored, given, self.serial is not None].count(True) != 1:
            ways = "either prompt and completion, or position and item of a record, or a serial number"
            named = ("prompt", "completion", "position", "item", "serial")
            sent = [name for name in named if getattr(self, name) is not None]
            raise unfit(f"name {ways}", sent, ways)
        return self


class Neighbour(ResponseModel):
    """A stored completion that an item read."""

    serial: int
    """Serial number: how many completions the run had taken before this one."""
    similarity: float
    """Cosine to the item's completion."""
    outcome: float
    count: int
    """Number of completions merged into this entry, itself included."""
    own_prompt: bool
    """Whether it is stored under the item's own prompt."""
    step: int | None = None
    """The trainer's step when it was stored; null if the request named none or the journal no longer has it."""
    prompt: str | None = None
    completion: str | None = None
    """The texts; null if they are no longer kept."""


class MemoryRead(ResponseModel):
    """What an item read from one memory."""

    prompts: int
    """Number of prompts whose completions were read, at most K."""
    completions: int
    """Number of completions read, without the one held out; each merged completion counts."""
    entries: int
    """Number of entries read; fewer than `completions` where completions were merged."""
    nearest_prompt: float | None = None
    """Cosine of the item's prompt to the nearest prompt read, 1 for its own; null if nothing was read."""
    centroid_distance: float | None
    """Distance from the item to their mean; null if nothing was read."""
    largest_cosine: float | None
    """Cosine to the most similar of them; null if nothing was read."""
    neighbours: list[Neighbour]
    """The most similar of them, most similar first."""


class WindowPlace(ResponseModel):
    """The window that scaled an item's raw value, that value included."""

    count: int
    low: float
    """Raw value that scales to 0."""
    high: float
    """Raw value that scales to 1."""


class Limit(ResponseModel):
    """A guard or bound of a component that is on, and what it found of the item."""

    name: str
    """Its field in the component's `guards`."""
    limit: float | str
    value: float | None
    """What it measured; null if the record has no such measure, in which case it rejects nothing."""
    applied: bool
    """Whether it rejected the item or changed what the item earned."""
    says: str
    """Value and limit in words."""


class ComponentTerm(ResponseModel):
    """How one component contributed to the reward."""

    raw: float | None
    scaled: float
    weight: float
    contribution: float
    """Its summand of the reward, after annealing and caps."""
    window: WindowPlace | None
    """Null if the component has no window or the item no raw value."""
    rejected: list[str]
    """Guards that rejected the item."""
    limits: list[Limit] = Field(default_factory=list)
    """The component's guards and bounds that are on."""
    why_zero: str | None = None
    """Why it contributed 0, in words; null if it contributed something."""


class Explanation(ResponseModel):
    """Response of `POST /runs/{id}/explain`. Explaining changes nothing."""

    run_id: str
    branch: int
    position: int
    """Number of records before the item was scored."""
    prompt: str | None
    completion: str | None
    outcome: float
    reward: float
    why_zero: list[str] = Field(default_factory=list)
    """Why the reward is 0, in words; empty if it is not."""
    account: list[str] = Field(default_factory=list)
    """What each component paid and why, then what their sum came to: sentences that account for the reward."""
    components: dict[str, ComponentTerm]
    held_to_spread: float
    """Sum of the contributions minus the reward: what `max_spread` and `equal_spread` took off."""
    success: MemoryRead
    failure: MemoryRead
    warmup: dict[str, int]
    """Component -> how many steps it still waited for, then how many failure prompts; 0: it was on."""
    warnings: list[str] = Field(default_factory=list)
    """What the caller should know about the texts that were sent, for example that they were cut."""
