"""The rows of a file: a JSON object per line, one JSON list of objects, or Parquet; possibly compressed with gzip."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from memr_client.errors import InvalidRequest

if TYPE_CHECKING:
    import pyarrow as pa

BLANK = BOM_UTF8 + b" \t\r\n"
"""Bytes that a line may begin with; a file may begin with a byte order mark."""

Form = Literal["lines", "list", "parquet"]


@dataclass(frozen=True)
class Row:
    """One row of a file."""

    number: int
    """Line in the file, item of its list, or row of its table, from 1."""
    where: str
    """What messages call it."""
    fields: Any
    """An object, once `read` has given it."""
    raw: bytes | None
    """The line without its end, if the file has lines."""


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


def read(path: Path, remedy: str, name: str = "") -> Iterator[Row]:
    """The file's rows in order. Blank lines are skipped.

    Args:
        remedy: what messages say of the rows that the file should have.
        name: what messages call the file, if not by its path.

    Raises:
        InvalidRequest: the file cannot be read, or a row is not an object. The message names the row.
    """
    name = name or str(path)
    with _readable(name), path.open("rb") as file, _uncompressed(file) as content:
        found = {"lines": _lines, "list": _items, "parquet": _table_rows}[_form(content, name)](content, name, remedy)
        for row in found:
            if not isinstance(row.fields, dict):
                value = excerpt(json.dumps(row.fields, default=str).encode())
                raise InvalidRequest(f"{row.where} is not an object.", value=value, remedy=remedy)
            yield row


def table(path: Path, name: str) -> pa.Table:
    """A Parquet file's rows as they are.

    Raises:
        InvalidRequest: it cannot be read.
    """
    import pyarrow.parquet as pq

    with _readable(name), path.open("rb") as file, _uncompressed(file) as content, _whole_table(name):
        return pq.ParquetFile(content).read()


def form(path: Path, name: str = "") -> Form:
    """How the file holds its rows.

    Raises:
        InvalidRequest: it cannot be read.
    """
    name = name or str(path)
    with _readable(name), path.open("rb") as file, _uncompressed(file) as content:
        return _form(content, name)


def require_arrow(name: str) -> None:
    """Check that a Parquet file can be read and written.

    Raises:
        InvalidRequest: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise InvalidRequest(
            f"{name} is Parquet, which needs pyarrow.",
            value=name,
            limit="JSON lines",
            remedy="Run pip install '.[parquet]' in a clone of memr, or use JSON lines (.jsonl).",
        )


def _form(content: IO[bytes], name: str) -> Form:
    start = content.read(4)
    content.seek(0)
    if b"\0" in start or start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise InvalidRequest(
            f"{name} is not UTF-8, but probably UTF-16.",
            value=str(name),
            limit="UTF-8",
            remedy="Save it as UTF-8: iconv -f UTF-16 -t UTF-8 OLD > NEW, or Set-Content -Encoding utf8.",
        )
    if start in (b"PAR1", b"PARE"):  # PARE: all of it is encrypted
        require_arrow(name)
        return "parquet"
    first = next((line for line in content if line.strip(BLANK)), b"")
    content.seek(0)
    return "list" if first.strip(BLANK).startswith(b"[") else "lines"


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


def _lines(content: IO[bytes], name: str, remedy: str) -> Iterator[Row]:
    for number, line in enumerate(content, start=1):
        if line.strip(BLANK):
            where = f"line {number} of {name}"
            yield Row(number, where, _json(line, where, remedy), line.removeprefix(BOM_UTF8).rstrip(b"\r\n"))


def _items(content: IO[bytes], name: str, remedy: str) -> Iterator[Row]:
    for number, fields in enumerate(_json(content.read(), name, remedy), start=1):
        yield Row(number, f"item {number} of {name}", fields, None)


def _table_rows(content: IO[bytes], name: str, remedy: str) -> Iterator[Row]:
    import pyarrow.parquet as pq

    number = 0
    with _whole_table(name):
        for batch in pq.ParquetFile(content).iter_batches():
            columns = [_values(batch, column, name) for column in range(batch.num_columns)]
            for values in zip(*columns, strict=True):
                number += 1
                fields = dict(zip(batch.schema.names, values, strict=True))
                yield Row(number, f"row {number} of {name}", fields, None)


def _values(batch: pa.RecordBatch, column: int, name: str) -> list[Any]:
    """A column's values, as Python has them.

    Raises:
        InvalidRequest: Python cannot hold one: a date after the year 9999, a text that is not UTF-8.
    """
    field = batch.schema.field(column)
    try:
        values: list[Any] = batch.column(column).to_pylist()
    except (ArithmeticError, LookupError, ValueError) as error:
        raise InvalidRequest(
            f"column {field.name!r} of {name} has a value that cannot be read: {error}.",
            value=f"{field.name}: {field.type}",
            limit="texts in UTF-8, numbers, dates up to the year 9999",
            remedy="Leave the column out, or write its values as texts or numbers.",
        ) from error
    return values


@contextmanager
def _whole_table(name: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of what it holds
            raise
        raise InvalidRequest(
            f"{name} is not a whole Parquet file: {str(error).strip()}",
            value=name,
            limit="a whole Parquet file without encryption",
            remedy="Write it again, or use JSON lines (.jsonl).",
        ) from error


def _json(text: bytes, where: str, remedy: str) -> Any:
    try:
        return json.loads(text.removeprefix(BOM_UTF8))
    except (ValueError, RecursionError) as error:
        old_ends = b"\r" in text.strip() and b"\n" not in text.strip()
        remedy = r"If its lines end with \r alone, convert them: tr '\r' '\n' < OLD > NEW." if old_ends else remedy
        raise InvalidRequest(f"{where} is not JSON: {error}.", value=excerpt(text), remedy=remedy) from error


def excerpt(line: bytes, length: int = 60) -> str:
    """The beginning of a line, as messages show it."""
    text = line.decode("utf-8", "replace").strip().replace("\r", "\\r")
    return text if len(text) <= length else text[:length] + "..."
