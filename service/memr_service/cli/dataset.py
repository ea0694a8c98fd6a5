"""A data set of prompts: its rows are read for planning, and some of them written again, unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memr_client.errors import InvalidRequest
from memr_client.schemas import Text, without_halves
from pydantic import TypeAdapter, ValidationError

from memr_service.cli import output, rows
from memr_service.cli.rollouts import Identity, as_text
from memr_service.cli.rows import Form, Row, excerpt

ID_FIELDS = ("prompt_id", "id")
"""Fields that hold a prompt's id, where none is named."""
PROMPT_FIELDS = ("prompt", "question")
"""Fields that hold its text, where none is named."""
REMEDY = 'Write one JSON object per line, for example {"id": 7, "prompt": "2 + 2 = ?"}.'

TEXT: TypeAdapter[Text] = TypeAdapter(Text)
ID: TypeAdapter[str] = TypeAdapter(Identity)


@dataclass
class Prompt:
    """A prompt of a data set. Rows with one id, or else with one text, are one prompt."""

    name: str
    """Its id; `row 7` if the data set has none: no trainer sends such an id, so a run knows it by its text."""
    text: Text | None
    first: str
    """What messages call its first row."""
    rows: list[int] = field(default_factory=list)
    """Its rows, from 0."""


@dataclass(frozen=True)
class DataSet:
    """The prompts of a file, and its rows."""

    path: Path
    name: str
    form: Form
    prompts: list[Prompt]
    has_ids: bool
    kept: list[Any]
    """Each row as it is written again; empty for a Parquet file."""

    @property
    def names(self) -> list[str]:
        """Each prompt's id."""
        return [one.name for one in self.prompts]

    @property
    def texts(self) -> list[Text] | None:
        """Each prompt's text, if the data set has them."""
        texts = [one.text for one in self.prompts if one.text is not None]
        return texts or None

    def rows_of(self, names: Sequence[str]) -> list[int]:
        """The rows of some prompts, in their order."""
        by_name = {one.name: one.rows for one in self.prompts}
        return [row for name in names for row in by_name[name]]

    def check_output(self, path: Path) -> None:
        """Check that rows can be written to a file.

        Raises:
            InvalidRequest: the file is of another kind, its folder does not exist, or it is the data set.
        """
        if (path.suffix == ".parquet") != (self.form == "parquet"):
            kind, suffix = ("Parquet", ".parquet") if self.form == "parquet" else ("JSON", ".jsonl")
            raise InvalidRequest(
                f"rows are written unchanged, and {self.name} is {kind}, but --out is {path}.",
                value=path.suffix,
                limit=suffix,
                remedy=f"Use a name that ends in {suffix}.",
            )
        output.check_place(path, self.path)

    def write(self, path: Path, numbers: Sequence[int]) -> None:
        """Write the rows of these numbers, from 0, in this order."""
        if self.form == "parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            picked = pa.array(numbers, pa.int64())  # also where there are none
            with output.replacing(path) as file:
                pq.write_table(rows.table(self.path, self.name).take(picked), file)
            return
        lines = [self.kept[number] for number in numbers]
        with output.replacing(path) as file:
            if self.form == "lines":
                file.writelines(line + b"\n" for line in lines)
            else:
                inside = b",\n".join(json.dumps(one, ensure_ascii=False).encode("utf-8", "replace") for one in lines)
                file.write(b"[" + inside + b"]\n")


def read(path: Path, name: str, id_field: str | None, prompt_field: str | None) -> DataSet:
    """The data set of a file.

    Args:
        name: what messages call the file.
        id_field, prompt_field: where ids and texts are, `extra_info.index` inside `extra_info`; None: by their usual
            names, if the first row has them.

    Raises:
        InvalidRequest: the file or a row of it cannot be read, or two texts have one id.
    """
    form = rows.form(path, name)
    fields: _Fields | None = None
    by_key: dict[str, Prompt] = {}
    kept = []
    for number, row in enumerate(rows.read(path, REMEDY, name)):
        fields = fields or _Fields.of(row, id_field, prompt_field)
        found = fields.prompt(row)
        key = found.name if fields.id is not None else as_text(found.text or "")
        known = by_key.setdefault(key, found)
        if known.text != found.text:
            raise InvalidRequest(
                f"{row.where} has the id of {known.first}, but another text.",
                value=found.name[:80],
                limit="an id for each prompt",
                remedy="Name the field with the ids: --id-field.",
            )
        known.rows.append(number)
        if form != "parquet":
            kept.append(row.fields if row.raw is None else row.raw)
    if fields is None:
        raise InvalidRequest(f"{name} has no rows.", value=name, remedy=REMEDY)
    return DataSet(path, name, form, [*by_key.values()], fields.id is not None, kept)


@dataclass(frozen=True)
class _Fields:
    """The fields of a data set that hold ids and texts."""

    id: str | None
    text: str | None

    @classmethod
    def of(cls, row: Row, id_field: str | None, prompt_field: str | None) -> _Fields:
        """Those that are named, or else have a usual name."""
        found = cls(
            id_field or next((one for one in ID_FIELDS if one in row.fields), None),
            prompt_field or next((one for one in PROMPT_FIELDS if one in row.fields), None),
        )
        if found.id is None and found.text is None:
            raise InvalidRequest(
                f"{row.where} has no prompt.",
                value=f"its fields are {', '.join(map(str, row.fields))}"[:200],
                limit=[*PROMPT_FIELDS, *ID_FIELDS],
                remedy="Name the field with the prompt's text, --prompt-field, or the one with its id, --id-field.",
            )
        return found

    def prompt(self, row: Row) -> Prompt:
        text = None if self.text is None else _valid(TEXT, row, self.text, "--prompt-field")
        name = f"row {row.number}" if self.id is None else _valid(ID, row, self.id, "--id-field")
        return Prompt(name, text, row.where)


def _valid(kind: TypeAdapter[Any], row: Row, path: str, option: str) -> Any:
    value = row.fields
    for part in _parts(row.fields, path):
        if not isinstance(value, dict) or part not in value:
            raise InvalidRequest(
                f"{row.where} has no {path}.",
                value=f"its fields are {', '.join(map(str, row.fields))}"[:200],
                remedy=f"Name a field that every row has: {option}.",
            )
        value = value[part]
    try:
        return kind.validate_python(without_halves(value)[0])
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"]
        shown = excerpt(json.dumps(value, default=str).encode())
        raise InvalidRequest(
            f"{row.where}: {path}: {said}.", value=shown, remedy=f"Name another field: {option}."
        ) from error


def _parts(fields: dict[str, Any], path: str) -> Iterator[str]:
    """The steps from a row to a value: a field with dots in its name is one step."""
    yield from [path] if path in fields else path.split(".")
