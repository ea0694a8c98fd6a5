"""Output files, written completely or not at all; that of `memr score` is JSON lines or Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from memr_client.errors import InvalidRequest

from memr_service.cli.options import require_writable
from memr_service.cli.rows import require_arrow
from memr_service.cli.scoring import Row

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_GROUP = 10_000

TEXTS = ("prompt", "completion", "prompt_id", "group_id")
COUNTS = ("line", "step", "support_success", "support_failure")


def check(path: Path, source: Path) -> None:
    """Check that the output file can be written, before the work begins.

    Raises:
        InvalidRequest: the suffix is unknown, Parquet cannot be written, the folder does not exist, or the path is the
            input file.
    """
    if path.suffix not in (".jsonl", ".parquet"):
        raise InvalidRequest(
            f"cannot tell the format of {path}.",
            value=path.suffix,
            limit=[".jsonl", ".parquet"],
            remedy="Use a name that ends in .jsonl or .parquet.",
        )
    if path.suffix == ".parquet":
        require_arrow(str(path))
    check_place(path, source)


def check_place(path: Path, source: Path) -> None:
    """Check that the output file can be written beside its input.

    Raises:
        InvalidRequest: the folder does not exist, or the path is the input file.
    """
    require_writable(path)
    if path.resolve() == source.resolve():
        raise InvalidRequest(f"{path} is the input file.", value=str(path), remedy="Choose another --out.")


@contextmanager
def writing(path: Path | None) -> Iterator[Callable[[list[Row]], None]]:
    """A function that appends rows to `path`; None discards them. The file gets its name when the context succeeds."""
    if path is None:
        yield lambda rows: None
        return
    with replacing(path) as file, _parquet(file) if path.suffix == ".parquet" else _jsonl(file) as write:
        yield write


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when the context succeeds, in place of one of that name."""
    target = path.resolve()  # a link stays one
    partial = target.with_name(target.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _jsonl(file: IO[bytes]) -> Iterator[Callable[[list[Row]], None]]:
    yield lambda rows: file.writelines(json.dumps(row).encode() + b"\n" for row in rows)


@contextmanager
def _parquet(file: IO[bytes]) -> Iterator[Callable[[list[Row]], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting: list[Row] = []
    writer: pq.ParquetWriter | None = None

    def flush() -> None:
        nonlocal writer
        schema = _schema(waiting[0])
        writer = writer or pq.ParquetWriter(file, schema)
        writer.write_table(pa.Table.from_pylist([_in_utf8(row) for row in waiting], schema))
        waiting.clear()

    def write(rows: list[Row]) -> None:
        waiting.extend(rows)
        if len(waiting) >= ROWS_PER_GROUP:
            flush()

    try:
        yield write
        if waiting:
            flush()
    finally:
        if writer is not None:
            writer.close()


def _schema(row: Row) -> pa.Schema:
    """The schema by column name, so that it does not depend on null values in the first rows."""
    import pyarrow as pa

    kinds = dict.fromkeys(TEXTS, pa.string()) | dict.fromkeys(COUNTS, pa.int64())
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in row])


def _in_utf8(row: Row) -> Row:
    """The row with lone surrogates replaced by question marks. JSON can hold them, Parquet's UTF-8 cannot."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }
