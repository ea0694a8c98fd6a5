"""`GET /runs/{id}/completions` and `GET /runs/{id}/map`: a run's completions, as a list and on a plane."""

from __future__ import annotations

from typing import Literal, TypedDict

from memr_client.schemas.reward import MemorySizes
from memr_client.schemas.wire import ResponseModel


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


class Completion(ResponseModel):
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


class Completions(ResponseModel):
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


class MapPoint(ResponseModel):
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


class Map(ResponseModel):
    """`GET /runs/{id}/map`: a sample of both memories, on the plane in which its embeddings differ most."""

    points: list[MapPoint]
    explained: tuple[float, float]
    """Share of the sample's variance along x and along y."""
    memory: MemorySizes
    """What the sample was taken from."""
