"""Values of any library as plain Python ones: arrays as lists, chats without images, missing values as None."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Number
from typing import Any

from pydantic import BaseModel

from memr_client.errors import InvalidRequest

_LEFT_OUT = object()


def plain(values: Any) -> Any:
    """Arrays, series and tensors, and array scalars in a list, as plain Python objects; other values unchanged."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    elif hasattr(values, "to_list"):  # polars
        values = values.to_list()
    if isinstance(values, list | tuple):
        return [value.tolist() if hasattr(value, "tolist") else value for value in values]
    return values


def is_missing(value: Any) -> bool:
    """Whether a value says "does not apply": None, NaN of any library, pandas' NA and NaT."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return type(value).__name__ in ("NAType", "NaTType")


def plain_column(values: Any, n: int, name: str) -> list[Any]:
    """One value for each of n completions, as a list.

    Args:
        values: a list, or an array of any library.
        name: what gave them, for messages.

    Raises:
        InvalidRequest: these are not n values.
    """
    column = plain(values)
    given: Any
    if not isinstance(column, list):
        given = repr(column) if column is None or isinstance(column, bool | int | float) else type(column).__name__
        what = f"{name} gave {given} for {n} completions."
    elif len(column) != n:
        given, what = len(column), f"{name} has {len(column)} values for {n} completions."
    else:
        return column
    limit = f"a list of {n} values"
    raise InvalidRequest(what, value=given, limit=limit, remedy="Return one value for each completion, None for none.")


def plain_outcomes(outcomes: Any, n: int, name: str = "outcome") -> list[float | None]:
    """A verifier's outcomes (n) as floats; None for a completion that it does not apply to.

    Args:
        outcomes: a list, or an array of any library. Booleans count as 1 and 0; None and NaN as "does not apply".
        name: what gave them, for messages.

    Raises:
        InvalidRequest: these are not n numbers.
    """
    column = plain_column(outcomes, n, name)
    numbers = [None if is_missing(value) else _number(value, f"{name}[{item}]") for item, value in enumerate(column)]
    return [None if is_missing(number) else number for number in numbers]


def plain_text(text: Any, name: str) -> Any:
    """A prompt or completion as a string or a list of messages that JSON can carry.

    Images, audio, bytes and arrays in a chat are left out: its texts are what a memory reads.

    Args:
        text: a string, or a list (or array) of messages.
        name: its place in the request, for messages.

    Raises:
        InvalidRequest: the content of a message is bytes.
    """
    if isinstance(text, str):
        return text
    messages = plain(text)
    if not isinstance(messages, list):
        return messages
    return [_message(message, f"{name}[{place}]") for place, message in enumerate(messages)]


def _message(message: Any, name: str) -> Any:
    if isinstance(message, BaseModel):
        message = message.model_dump(exclude_unset=True)
    if not isinstance(message, Mapping):
        return message
    for field in ("content", "value"):
        if isinstance(message.get(field), bytes | bytearray | memoryview):
            raise InvalidRequest(
                f"{name}.{field} is bytes.", value="bytes", limit="a text or a list of parts", remedy="Decode it first."
            )
    return _json(message)


def _json(value: Any) -> Any:
    """The value without what JSON cannot carry."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, BaseModel):
        return _json(value.model_dump(exclude_unset=True))
    if isinstance(value, Mapping):
        kept = {str(name): _json(member) for name, member in value.items()}
        return {name: member for name, member in kept.items() if member is not _LEFT_OUT}
    if str(getattr(value, "dtype", None)) == "object" or getattr(value, "shape", None) == ():
        return _json(value.tolist())  # an array of parts, as parquet files give them, or an array scalar
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [kept for member in value if (kept := _json(member)) is not _LEFT_OUT]
    return _LEFT_OUT


def _number(value: Any, name: str) -> float:
    if isinstance(value, Number | str):  # Decimal and Fraction too
        with suppress(ValueError, TypeError):
            return float(value)  # type: ignore[arg-type]
    raise InvalidRequest(
        f"{name} is {'a text' if isinstance(value, str) else f'a value of type {type(value).__name__}'}, not a number.",
        value=type(value).__name__,
        limit="a number, True, False or None",
        remedy="Return one number for each completion.",
    )
