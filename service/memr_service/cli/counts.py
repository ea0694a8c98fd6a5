"""Counts of right completions that a run may start from: {prompt or prompt_id, right, n}, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from memr_client.errors import InvalidRequest
from memr_client.schemas import Text, without_halves
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memr_service.cli import rows
from memr_service.cli.rollouts import Identity, Outcome, as_text
from memr_service.cli.rows import Row, excerpt

REMEDY = 'Write one JSON object per line, for example {"prompt": "2 + 2 = ?", "right": 3, "n": 4}.'


class Count(BaseModel):
    """One line of the file. Other fields of the line are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt: Text | None = None
    prompt_id: Identity | None = None
    right: Annotated[Outcome, Field(ge=0)]
    """Right completions of the prompt; of one completion, true or false."""
    n: Annotated[Outcome, Field(gt=0)]
    """All completions of the prompt."""


@dataclass
class Counts:
    """Columns of the counts of m prompts. Lines of one prompt are added up."""

    prompt_ids: list[str] = field(default_factory=list)
    prompts: list[Text] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    n: list[float] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def add(self, one: Count) -> None:
        """Add a line."""
        key = one.prompt_id if one.prompt_id is not None else as_text(one.prompt or "")
        place = self._places.setdefault(key, len(self.n))
        if place < len(self.n):
            self.right[place] += one.right
            self.n[place] += one.n
            return
        self.right.append(one.right)
        self.n.append(one.n)
        if one.prompt_id is not None:
            self.prompt_ids.append(one.prompt_id)
        if one.prompt is not None:
            self.prompts.append(one.prompt)


def read(path: Path, name: str) -> Counts:
    """The counts of a file.

    Args:
        name: what messages call the file.

    Raises:
        InvalidRequest: the file cannot be read, or a line has no counts. The message names the line.
    """
    found = Counts()
    first: Count | None = None
    for row, one in _lines(path, name):
        first = first or one
        for column in ("prompt", "prompt_id"):
            if (getattr(one, column) is None) != (getattr(first, column) is None):
                raise InvalidRequest(
                    f"{row.where}: some lines have a {column}, and others have none.",
                    limit="the same fields in every line",
                    remedy="Give every line the same fields.",
                )
        found.add(one)
    if first is None:
        raise InvalidRequest(f"{name} has no rows.", value=name, remedy=REMEDY)
    return found


def _lines(path: Path, name: str) -> Iterator[tuple[Row, Count]]:
    for row in rows.read(path, REMEDY, name):
        try:
            one = Count.model_validate(without_halves(row.fields)[0])
        except ValidationError as error:
            raise _refused(row, error) from error
        if one.prompt is None and one.prompt_id is None:
            raise InvalidRequest(f"{row.where} has neither prompt nor prompt_id.", remedy=REMEDY)
        if one.right > one.n:
            raise InvalidRequest(
                f"{row.where}: right is {one.right:g}, but n is {one.n:g}.", value=one.right, limit=one.n, remedy=REMEDY
            )
        yield row, one


def _refused(row: Row, error: ValidationError) -> InvalidRequest:
    first = error.errors(include_url=False)[0]
    column = str(first["loc"][0])
    if first["type"] == "missing":
        fields = f"its fields are {', '.join(map(str, row.fields))}"[:200]
        return InvalidRequest(f"{row.where} has no {column}.", value=fields, limit=["right", "n"], remedy=REMEDY)
    value = excerpt(json.dumps(row.fields[column], default=str).encode())
    return InvalidRequest(f"{row.where}: {column}: {first['msg']}.", value=value, remedy=REMEDY)
