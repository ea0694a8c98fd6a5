"""Logged rollouts: {prompt, completion, outcome[, step, prompt_id, group_id]}, one JSON object per line.

A file may also hold one JSON list of such objects, or be a Parquet file with these columns; either may be compressed
with gzip. NeMo Gym's files of rollouts are read, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path
from typing import Annotated, Any, Literal

from memr_client.errors import InvalidRequest
from memr_client.schemas import Count, Finite, Text, chat_of, without_halves
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from memr_service.cli import rows
from memr_service.cli.rows import Row, excerpt

REMEDY = 'Write one JSON object per line, for example {"prompt": "2 + 2 = ?", "completion": "4", "outcome": 1}.'

OTHER_NAMES = {
    "prompt": ("question", "problem", "query", "input", "messages"),
    "completion": ("response", "answer", "output", "generation", "text", "completions"),
    "outcome": ("reward", "score", "correct", "is_correct", "label", "outcomes"),
}
"""Field -> what other programs call it. It is only suggested: the same word means different things elsewhere."""

NEMO_GYM = {"responses_create_params", "response"}
"""Fields of a line of NeMo Gym's rollouts."""

GroupBy = Literal["prompt", "step"]

# Verifiers often log true or false.
Outcome = Annotated[Finite, BeforeValidator(lambda value: float(value) if isinstance(value, bool) else value)]

# Data sets number their prompts.
Identity = Annotated[
    str, Field(strict=True), BeforeValidator(lambda value: str(value) if type(value) is int else value)
]


class Rollout(BaseModel):
    """One line of the file. Other fields of the line are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    line: int = 0
    """Line in the file, or item of its list, from 1."""
    prompt: Text
    completion: Text
    outcome: Outcome
    """R: the verifier's reward."""
    step: Count | None = None
    prompt_id: Identity | None = None
    group_id: Identity | None = None
    halves: tuple[str, ...] = ()
    """Fields in which half of a surrogate pair was read as U+FFFD."""

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


def read(path: Path, name: str = "") -> Iterator[Rollout]:
    """The file's rollouts in order, NeMo Gym's in the order of tasks. Blank lines are skipped.

    Args:
        name: what messages call the file, if not by its path.

    Raises:
        InvalidRequest: the file cannot be read, or a line is not a rollout. The message names the line.
    """
    found = rows.read(path, REMEDY, name)
    first = next(found, None)
    if first is None:
        return
    whole: Iterable[Row] = chain([first], found)
    if first.fields.keys() >= NEMO_GYM:  # in the order of tasks groups are together; it is written as rollouts end
        whole = map(_from_nemo_gym, sorted(whole, key=_place))
    for row in whole:
        yield _parse(row)


def requests(rollouts: Iterable[Rollout], by: GroupBy) -> Iterator[list[Rollout]]:
    """Consecutive rollouts to send together: those of one group, or of one step if the lines have a step."""

    def belongs(rollout: Rollout) -> tuple[object, ...]:
        whole_step = by == "step" and rollout.step is not None
        return (rollout.step,) if whole_step else (rollout.step, rollout.group)

    for _, members in groupby(rollouts, belongs):
        yield list(members)


def _from_nemo_gym(row: Row) -> Row:
    """A line of NeMo Gym's rollouts as a line of ours; a line that is none, as it is.

    The outcome is that of the verifier where `/verify` told it apart, else the whole reward.
    """
    asked, response = row.fields.get("responses_create_params"), row.fields.get("response")
    if not (isinstance(asked, dict) and isinstance(response, dict)):
        return row
    parts = row.fields.get("reward_components")
    fields = {
        "prompt": [message.model_dump() for message in chat_of(asked.get("input"), asked.get("instructions"))],
        "completion": [message.model_dump() for message in chat_of(response.get("output"))],
    }
    outcome = parts["outcome"] if isinstance(parts, dict) and "outcome" in parts else row.fields.get("reward")
    return replace(row, fields=fields if outcome is None else {**fields, "outcome": outcome})


def _place(row: Row) -> tuple[int, ...]:
    """A rollout's place in the order of tasks."""
    indices = (row.fields.get(name) for name in ("_ng_task_index", "_ng_rollout_index"))
    return (*(index if isinstance(index, int) else 0 for index in indices), row.number)


def _parse(row: Row) -> Rollout:
    fields, halves = without_halves(row.fields)
    try:
        rollout = Rollout.model_validate({**fields, "line": row.number, "halves": halves})
    except (ValidationError, OverflowError) as error:
        raise _refused(row.where, fields, error) from error
    if not isinstance(rollout.prompt, str) and all(message.role != "user" for message in rollout.prompt):
        raise InvalidRequest(
            f"{row.where}: prompt: no message has the role 'user'.",
            value=[message.role for message in rollout.prompt],
            limit="at least one 'user' message",
            remedy="Write the question as a user message, or the prompt as a string.",
        )
    return rollout


def _refused(where: str, fields: dict[str, Any], error: ValidationError | OverflowError) -> InvalidRequest:
    if isinstance(error, OverflowError):
        return InvalidRequest(f"{where} has a number that is too large.", limit="finite numbers", remedy=REMEDY)
    first = error.errors(include_url=False)[0]
    field = str(first["loc"][0])
    if first["type"] == "missing":
        other = next((name for name in OTHER_NAMES.get(field, ()) if name in fields), None)
        return InvalidRequest(
            f"{where} has no {field}.",
            value=f"its fields are {', '.join(map(str, fields))}"[:200],
            limit=["prompt", "completion", "outcome"],
            remedy=REMEDY if other is None else f"Rename {other!r} to {field!r} if it holds the {field}.",
        )
    value = excerpt(json.dumps(fields[field], default=str).encode())
    return InvalidRequest(f"{where}: {field}: {first['msg']}.", value=value, remedy=REMEDY)
