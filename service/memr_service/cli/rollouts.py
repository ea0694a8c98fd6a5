"""Logged rollouts: one JSON object per line, {prompt, completion, outcome[, step, prompt_id, group_id]}."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

from memr_client.errors import InvalidRequest
from memr_client.schemas import Count, Finite, Text
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

REMEDY = 'each line is one JSON object such as {"prompt": "2 + 2 = ?", "completion": "4", "outcome": 1}'

GroupBy = Literal["prompt", "step"]

# A verifier often logs true or false: an outcome is a number.
Outcome = Annotated[Finite, BeforeValidator(lambda value: float(value) if isinstance(value, bool) else value)]


class Rollout(BaseModel):
    """One line of the file. Fields it does not name are ignored: logs carry many."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    line: int = 0
    """Where it stands, from 1."""
    prompt: Text
    completion: Text
    outcome: Outcome
    """R: what the verifier gave it."""
    step: Count | None = None
    prompt_id: Annotated[str, Field(strict=True)] | None = None
    group_id: Annotated[str, Field(strict=True)] | None = None

    @property
    def identity(self) -> str:
        """What makes two prompts the same one (law L3)."""
        return self.prompt_id if self.prompt_id is not None else as_text(self.prompt)

    @property
    def group(self) -> str:
        """What makes two completions of one request members of one group."""
        return self.group_id if self.group_id is not None else self.identity


def as_text(text: Text) -> str:
    """A string as it is; chat messages as JSON."""
    return text if isinstance(text, str) else json.dumps([message.model_dump() for message in text], ensure_ascii=False)


def read(path: Path) -> Iterator[Rollout]:
    """The file's rollouts in order; blank lines are passed over.

    Raises:
        InvalidRequest: the file cannot be read, or a line is no rollout; names the line and what is wrong with it.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parse(path, number, line)
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}", value=str(path)) from error


def requests(rollouts: Iterable[Rollout], by: GroupBy) -> Iterator[list[Rollout]]:
    """Consecutive rollouts that are sent together: of one group, or of one step where they name one."""

    def belongs(rollout: Rollout) -> tuple[object, ...]:
        whole_step = by == "step" and rollout.step is not None
        return (rollout.step,) if whole_step else (rollout.step, rollout.group)

    for _, members in groupby(rollouts, belongs):
        yield list(members)


def _parse(path: Path, number: int, line: bytes) -> Rollout:
    where = f"line {number} of {path}"
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise InvalidRequest(f"{where} is not JSON: {error}", value=_excerpt(line), remedy=REMEDY) from error
    if not isinstance(fields, dict):
        raise InvalidRequest(f"{where} is not an object", value=_excerpt(line), remedy=REMEDY)
    try:
        return Rollout.model_validate({**fields, "line": number})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        wrong = f"{where} has no {field}" if first["type"] == "missing" else f"{where}: {field}: {first['msg']}"
        value = None if first["type"] == "missing" else _excerpt(json.dumps(fields[field]).encode())
        raise InvalidRequest(wrong, value=value, remedy=REMEDY) from error


def _excerpt(line: bytes, length: int = 60) -> str:
    text = line.decode("utf-8", "replace").strip()
    return text if len(text) <= length else text[:length] + "..."
