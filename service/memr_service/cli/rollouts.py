"""Logged rollouts: a file with one JSON object per line, {prompt, completion, outcome[, step, prompt_id, group_id]}."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

from memr_client.errors import InvalidRequest
from memr_client.schemas import Count, Finite, Text
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

REMEDY = 'Write one JSON object per line, for example {"prompt": "2 + 2 = ?", "completion": "4", "outcome": 1}.'

GroupBy = Literal["prompt", "step"]

# Verifiers often log true or false.
Outcome = Annotated[Finite, BeforeValidator(lambda value: float(value) if isinstance(value, bool) else value)]


class Rollout(BaseModel):
    """One line of the file. Other fields of the line are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    line: int = 0
    """Line number in the file, from 1."""
    prompt: Text
    completion: Text
    outcome: Outcome
    """R: the verifier's reward."""
    step: Count | None = None
    prompt_id: Annotated[str, Field(strict=True)] | None = None
    group_id: Annotated[str, Field(strict=True)] | None = None

    @property
    def identity(self) -> str:
        """The prompt's identity: `prompt_id`, or the whole prompt (L3)."""
        return self.prompt_id if self.prompt_id is not None else as_text(self.prompt)

    @property
    def group(self) -> str:
        """The completion's group within a request: `group_id`, or the prompt's identity."""
        return self.group_id if self.group_id is not None else self.identity


def as_text(text: Text) -> str:
    """A string unchanged, chat messages as JSON."""
    return text if isinstance(text, str) else json.dumps([message.model_dump() for message in text], ensure_ascii=False)


def read(path: Path) -> Iterator[Rollout]:
    """The file's rollouts in order. Blank lines are skipped.

    Raises:
        InvalidRequest: the file cannot be read, or a line is not a rollout. The message names the line.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parse(path, number, line)
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}", value=str(path)) from error


def requests(rollouts: Iterable[Rollout], by: GroupBy) -> Iterator[list[Rollout]]:
    """Consecutive rollouts to send together: those of one group, or of one step if the lines have a step."""

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
