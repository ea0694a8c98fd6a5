"""Where `memr score` writes: JSON lines or Parquet, complete or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from memr_client.errors import InvalidRequest

from memr_service.cli.score import Row

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_GROUP = 10_000

TEXTS = ("prompt", "completion", "prompt_id", "group_id")
COUNTS = ("line", "step", "support_success", "support_failure")


def check(path: Path, source: Path) -> None:
    """Refuse a place that could not be written to, before hours of work go into its content.

    Raises:
        InvalidRequest: another kind of file, a folder that is not there, or the file that is read.
    """
    if path.suffix not in (".jsonl", ".parquet"):
        raise InvalidRequest(
            f"cannot tell what to write to {path}.",
            value=path.suffix,
            limit=[".jsonl", ".parquet"],
            remedy="End the name in .jsonl or .parquet.",
        )
    if not path.parent.is_dir():
        raise InvalidRequest(f"the folder {path.parent} does not exist.", value=str(path), remedy="Make it first.")
    if path.resolve() == source.resolve():
        raise InvalidRequest(f"{path} is the file that is read.", value=str(path), remedy="Choose another --out.")


@contextmanager
def writing(path: Path | None) -> Iterator[Callable[[list[Row]], None]]:
    """A function that appends rows to `path` (None: to nowhere). The file appears when all went well."""
    if path is None:
        yield lambda rows: None
        return
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file, _parquet(file) if path.suffix == ".parquet" else _jsonl(file) as write:
            yield write
        os.replace(partial, path)
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
    """Types by column name, so that a file whose first values are null has the same types as any other."""
    import pyarrow as pa

    kinds = dict.fromkeys(TEXTS, pa.string()) | dict.fromkeys(COUNTS, pa.int64())
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in row])


def _in_utf8(row: Row) -> Row:
    """Parquet holds UTF-8, JSON logs may hold half a surrogate pair: that half becomes a question mark."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }
