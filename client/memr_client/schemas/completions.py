"""`GET /runs/{id}/completions` and `GET /runs/{id}/map`: a run's completions, as pages and on a plane."""

from __future__ import annotations

from typing import Literal, TypedDict

from pydantic import Field

from memr_client.schemas.reward import MemorySizes
from memr_client.schemas.wire import ResponseModel


class Page(TypedDict, total=False):
    """Filters, order and page of `GET /runs/{id}/completions`."""

    after: int
    """Only completions whose record comes after this position."""
    offset: int
    """Number of completions to skip."""
    limit: int
    """Most completions on the page, up to 200. Default: 50."""
    sort: str
    """`position`, `outcome`, `reward`, `length`, or a component (sorts by its raw value). Completions without the value
    come last."""
    ascending: bool
    """Smallest first. Default: largest or newest first."""
    right: bool | None
    """True: only right completions. False: only wrong ones."""
    step: int | None
    """Only completions of this step."""
    prompt: str | None
    """Only completions of the prompt with this key (hex), which `prompts` lists."""
    rejected: str | None
    """Only completions with this reason among their `rejected`, such as "exploit:too_short"."""
    text: str
    """Only completions whose prompt or completion contains this text, in any case."""


class Completion(ResponseModel):
    """A completion as it was scored."""

    position: int
    """Position of its record."""
    item: int
    """Its position in that record. `explain` takes both."""
    step: int | None
    outcome: float
    reward: float
    length: int
    """Characters of the encoded text."""
    raw: dict[str, float | None]
    scaled: dict[str, float]
    rejected: list[str]
    """Reasons: "component:reason" lowered its reward, "memory:reason" kept it out of the memory."""
    prompt_key: str = ""
    """Identity of the prompt (hex), by which `prompt` finds it."""
    prompt: str | None
    completion: str | None
    """The texts, long ones without their middle; null if they are no longer kept."""


class Completions(ResponseModel):
    """`GET /runs/{id}/completions`: one page of completions."""

    rows: list[Completion]
    matching: int
    """Number of matching completions on all pages."""
    searched: int | None = None
    """Number of completions that were searched for `text`, or of many for `prompt` or `rejected`, the first in the
    order asked for; null if all were."""
    rejected: dict[str, int] = Field(default_factory=dict)
    """Reason -> how many of the considered completions have it among their `rejected`."""
    first_position: int
    """First record that was considered. Of a very long run only the newest records are."""
    position: int
    """Last record that was considered."""


class MapPoint(ResponseModel):
    """A stored completion on a map."""

    memory: Literal["success", "failure"]
    serial: int
    """Serial number: how many completions the run had taken before this one."""
    x: float
    y: float
    outcome: float
    prompt: str | None
    completion: str | None
    """The texts, long ones without their middle; null if they are no longer kept."""
    cluster: int = 0
    """Number of its cluster in `clusters`."""


class MapCluster(ResponseModel):
    """Completions of a map whose embeddings lie together (k-means), in all dimensions."""

    words: list[str]
    """Words that are much commoner in its completions than in all those on the map; may be empty."""
    points: int


class Map(ResponseModel):
    """`GET /runs/{id}/map`: a sample of both memories, projected on the embeddings' first two principal components."""

    points: list[MapPoint]
    explained: tuple[float, float]
    """Share of the sample's variance along x and along y."""
    memory: MemorySizes
    """Sizes of the memories that the sample was taken from."""
    clusters: list[MapCluster] = Field(default_factory=list)
    """The largest first."""
