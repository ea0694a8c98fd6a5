"""Logged rollouts: {prompt, completion, outcome[, step, prompt_id, group_id]}, one JSON object per line.

A file may also hold one JSON list of such objects, or be a Parquet file with these columns; either may be compressed
with gzip.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from memr_client.errors import InvalidRequest
from memr_client.schemas import Count, Finite, Text, without_halves
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

REMEDY = 'Write one JSON object per line, for example {"prompt": "2 + 2 = ?", "completion": "4", "outcome": 1}.'

BLANK = BOM_UTF8 + b" \t\r\n"
"""Bytes that a line may begin with; a file may begin with a byte order mark."""

OTHER_NAMES = {
    "prompt": ("question", "problem", "query", "input", "messages"),
    "completion": ("response", "answer", "output", "generation", "text", "completions"),
    "outcome": ("reward", "score", "correct", "is_correct", "label", "outcomes"),
}
"""Field -> what other programs call it. It is only suggested: the same word means different things elsewhere."""

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


@contextmanager
def rereadable(path: Path) -> Iterator[Path]:
    """The path of a file with the same content that can be read more than once; `-` is standard input.

    A pipe is copied into a temporary file: `memr score <(zcat rollouts.jsonl.gz)`.

    Raises:
        InvalidRequest: the file cannot be read.
    """
    source = Path("/dev/stdin") if str(path) == "-" else path
    if source.is_file() or source.is_dir():
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "rollouts"
        with _readable(path), source.open("rb") as pipe, copy.open("wb") as file:
            shutil.copyfileobj(pipe, file)
        yield copy


def read(path: Path, name: str = "") -> Iterator[Rollout]:
    """The file's rollouts in order. Blank lines are skipped.

    Args:
        name: what messages call the file, if not by its path.

    Raises:
        InvalidRequest: the file cannot be read, or a line is not a rollout. The message names the line.
    """
    name = name or str(path)
    with _readable(name), path.open("rb") as file, _uncompressed(file) as content:
        start = content.read(4)
        content.seek(0)
        if b"\0" in start or start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise InvalidRequest(
                f"{name} is not UTF-8, but probably UTF-16.",
                value=str(name),
                limit="UTF-8",
                remedy="Save it as UTF-8: iconv -f UTF-16 -t UTF-8 OLD > NEW, or Set-Content -Encoding utf8.",
            )
        found = _in_parquet(content, name) if start == b"PAR1" else _in_json(content, name)
        for number, where, fields in found:
            yield _parse(number, f"{where} of {name}", fields)


@contextmanager
def _readable(name: Path | str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidRequest(
            f"cannot read {name}: {reason}.",
            value=str(name),
            remedy="Give a file, or - for standard input.",
        ) from error


@contextmanager
def _uncompressed(file: IO[bytes]) -> Iterator[IO[bytes]]:
    compressed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if compressed:
        with gzip.open(file) as content:
            yield content  # type: ignore[misc]
    else:
        yield file


def _in_json(content: IO[bytes], name: str) -> Iterator[tuple[int, str, Any]]:
    """Number, place and fields of each object: one per line, or the members of one list."""
    first = next((line for line in content if line.strip(BLANK)), b"")
    content.seek(0)
    if first.strip(BLANK).startswith(b"["):
        for number, fields in enumerate(_json(content.read(), name), start=1):
            yield number, f"item {number}", fields
        return
    for number, line in enumerate(content, start=1):
        if line.strip(BLANK):
            yield number, f"line {number}", _json(line, f"line {number} of {name}")


def _in_parquet(content: IO[bytes], name: str) -> Iterator[tuple[int, str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = (row for batch in pq.ParquetFile(content).iter_batches() for row in batch.to_pylist())
        for number, fields in enumerate(rows, start=1):
            yield number, f"row {number}", fields
    except pa.ArrowException as error:
        raise InvalidRequest(f"{name} is not a whole Parquet file: {error}", value=name) from error


def requests(rollouts: Iterable[Rollout], by: GroupBy) -> Iterator[list[Rollout]]:
    """Consecutive rollouts to send together: those of one group, or of one step if the lines have a step."""

    def belongs(rollout: Rollout) -> tuple[object, ...]:
        whole_step = by == "step" and rollout.step is not None
        return (rollout.step,) if whole_step else (rollout.step, rollout.group)

    for _, members in groupby(rollouts, belongs):
        yield list(members)


def _json(text: bytes, where: str) -> Any:
    try:
        return json.loads(text.removeprefix(BOM_UTF8))
    except (ValueError, RecursionError) as error:
        old_ends = b"\r" in text.strip() and b"\n" not in text.strip()
        remedy = r"If its lines end with \r alone, convert them: tr '\r' '\n' < OLD > NEW." if old_ends else REMEDY
        raise InvalidRequest(f"{where} is not JSON: {error}.", value=_excerpt(text), remedy=remedy) from error


def _parse(number: int, where: str, fields: Any) -> Rollout:
    if not isinstance(fields, dict):
        raise InvalidRequest(f"{where} is not an object.", value=_excerpt(json.dumps(fields).encode()), remedy=REMEDY)
    fields, halves = without_halves(fields)
    try:
        return Rollout.model_validate({**fields, "line": number, "halves": halves})
    except (ValidationError, OverflowError) as error:
        raise _refused(where, fields, error) from error


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
    value = _excerpt(json.dumps(fields[field], default=str).encode())
    return InvalidRequest(f"{where}: {field}: {first['msg']}.", value=value, remedy=REMEDY)


def _excerpt(line: bytes, length: int = 60) -> str:
    text = line.decode("utf-8", "replace").strip().replace("\r", "\\r")
    return text if len(text) <= length else text[:length] + "..."
