"""The wire of what can be asked about a run: why this reward, what if, is it collapsing, what a paper must cite.

As `memr_client.schemas`, which these types build on: the only definition, imported by both sides.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from pydantic import Field, model_validator

from memr_client.schemas import Count, Embeddings, Finite, MemorySizes, Problem, Quantiles, RunConfig, Text, Told, Wire


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


class Neighbour(Told):
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


class MemoryRead(Told):
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


class WindowPlace(Told):
    """A component's window as the item found it, itself included."""

    count: int
    low: float
    high: float
    """What scales to 0 and to 1."""


class ComponentTerm(Told):
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


class Explanation(Told):
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


class ReplayRequest(Wire):
    """`POST /runs/{id}/replay`: score the journal again, once for each of these settings."""

    settings: Annotated[list[RunConfig], Field(min_length=1, max_length=32)] = Field(
        default_factory=lambda: [RunConfig()]
    )
    """Of each only the fields that are set count. With `preset` the others are the preset's, else the run's own."""


class ReplayProgress(Told):
    """How far a replay is."""

    setting: int
    settings: int
    completions: int
    """Done under this setting."""
    of: int


class Quantity(Told):
    """A reward or one of its parts over all completions of a replay."""

    defined: int
    mean: float | None
    std: float | None
    auc: float | None
    """How often a right completion has more of it than a wrong one of its group (ties half), mean over groups."""


class Scored(Told):
    """The journal as it was scored, or as a setting scores it."""

    reward: Quantity
    raw: dict[str, Quantity]
    scaled: dict[str, Quantity]
    rejected_share: float
    """Completions that a guard rejected, of all."""
    rejected: dict[str, int]
    """"component:reason" -> completions."""


class Difference(Told):
    """The first value that a replay with the run's own config does not reproduce."""

    position: int
    item: int | None
    field: str
    recorded: Any
    replayed: Any


class SettingResult(Told):
    """What one setting made of the journal."""

    changed: dict[str, Any]
    """Fields in which it differs from the run's config; empty: it is the run's own."""
    scored: Scored
    correlation: float | None
    """Pearson's, of its rewards with the recorded ones."""
    correlation_in_groups: float | None
    """The same of rewards minus their group's mean: what group-normalised advantages see."""
    difference: Difference | None
    """Only of the run's own config: null there says that every record came out bit for bit."""
    chain: str | None
    """Only of the run's own config: the chain (hex) up to which every record came out."""
    seconds: float
    """Of one processor."""


class ReplayResult(Told):
    """A replay's results beside what the run recorded."""

    run_id: str
    first_position: int
    """The first record scored: 1, unless the journal is bounded."""
    position: int
    completions: int
    groups: int
    mixed_groups: int
    """Groups with right and wrong completions, which an AUC is about."""
    recorded: Scored
    settings: list[SettingResult]


class ReplayLine(Told):
    """One line of the answer to `POST /runs/{id}/replay`: progress, and in the end the result or a problem."""

    progress: ReplayProgress | None = None
    result: ReplayResult | None = None
    problem: Problem | None = None


AuditName = Literal[
    "reward_mode",
    "length_short",
    "length_long",
    "truncation",
    "component_share",
    "memory_share",
    "auc_leak",
    "auc_inverted",
    "diversity",
    "repeated_failures",
    "template",
    "explore_drift",
    "zero_variance",
]


class Audit(Told):
    """One question put to a run, with the figure that answers it."""

    name: AuditName
    state: Literal["ok", "warn", "alarm", "unknown"]
    about: str
    """The component, where there is one audit for each."""
    value: float | None
    baseline: float | None
    """The same figure over the run's first completions, where the audit compares with them."""
    limit: float
    """Beyond this the state is `alarm`."""
    says: str
    """What the figure is, in a sentence."""
    remedy: str
    """What to do when it fires."""


class Stretch(Told):
    """A stretch of a run's completions and what the diagnostics measure there; null where they cannot."""

    first_position: int
    position: int
    first_step: int | None
    step: int | None
    completions: int
    groups: int
    outcome: float
    reward: float
    zero_variance: float
    length: Quantiles
    """Characters of a completion's encoded text."""
    truncated: float | None
    shares: dict[str, float]
    """Component -> its share of what is paid, since all have warmed up; empty before."""
    memory_share: dict[str, float]
    """"all_wrong", "mixed", "all_right" -> share of all the advantages' variance that comes from the memory there."""
    auc: dict[str, float | None]
    raw: dict[str, Quantiles | None]
    diversity: float | None
    vendi: float | None
    repeated_failures: float | None
    own_prompt: float | None
    """How often a completion's nearest prompt is its own."""


class Audits(Told):
    """`GET /runs/{id}/audits`: is it collapsing?"""

    run_id: str
    baseline: Stretch | None
    """The run's first completions; raw values of a component that warms up are those of its first ones."""
    recent: Stretch | None
    """The newest completions, or those up to the position asked for; null where there are none."""
    audits: list[Audit]


class Provenance(Told):
    """`GET /runs/{id}/provenance`: what a paper must cite."""

    run_id: str
    memr: str
    law: int
    config: RunConfig
    config_sha256: str
    """Of the config as JSON with sorted keys."""
    encoder: dict[str, Any] | None
    dimension: int | None
    created_at: str
    branch: int
    position: int
    step: int | None
    completions: int
    """Taken since the run began."""
    chain: str
    versions: dict[str, str]


class Page(TypedDict, total=False):
    """Which completions `GET /runs/{id}/completions` gives."""

    after: int
    """Only those whose records come after this position."""
    offset: int
    """Pass over so many."""
    limit: int
    """At most so many: 50, up to 200."""
    sort: str
    """`position`, `outcome`, `reward`, `length`, or a component, by its raw value; what has none comes last."""
    ascending: bool
    """The least first; without it the largest, or newest."""
    right: bool | None
    """Only right ones, or only wrong ones."""
    step: int | None
    """Only those of this step."""
    text: str
    """Only those whose prompt or completion holds it, in upper or lower case."""


class Completion(Told):
    """A completion that a run took, as it was scored."""

    position: int
    item: int
    """Its place in that record: what `explain` asks for."""
    step: int | None
    outcome: float
    reward: float
    length: int
    """Characters of the encoded text."""
    raw: dict[str, float | None]
    scaled: dict[str, float]
    rejected: list[str]
    """"component:reason" of what kept it from part of its reward, or from the memory."""
    prompt: str | None
    completion: str | None
    """The beginnings of the texts, where they are still kept."""


class Completions(Told):
    """`GET /runs/{id}/completions`: a page of the completions that were asked for."""

    rows: list[Completion]
    matching: int
    """How many there are on all pages."""
    searched: int | None = None
    """How many were looked through for the text that was asked for, the first in order; null: no text was."""
    first_position: int
    """The first record that was looked at: very long runs are not looked at as a whole."""
    position: int
    """The last one."""


class MapPoint(Told):
    """A stored completion on a map."""

    memory: Literal["success", "failure"]
    serial: int
    """Which of all completions the run ever took, from 0: its age."""
    x: float
    y: float
    outcome: float
    prompt: str | None
    completion: str | None
    """The beginnings of the texts, where they are still kept."""


class Map(Told):
    """`GET /runs/{id}/map`: a sample of both memories, on the plane in which its embeddings differ most."""

    points: list[MapPoint]
    explained: tuple[float, float]
    """Share of the sample's variance along x and along y."""
    memory: MemorySizes
    """What the sample was taken from."""
