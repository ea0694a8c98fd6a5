"""What a caller hands over for a reward, from any library, and how it crosses the wire."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from memr_client.errors import InvalidRequest
from memr_client.schemas import Embeddings, Message, RewardRequest

if TYPE_CHECKING:
    from typing_extensions import Unpack

Body = TypeVar("Body", bound=BaseModel)

JSON = "application/json"
MSGPACK = "application/msgpack"


class Array(Protocol):
    """An array of any library (numpy, torch, pandas): something that can turn itself into a list."""

    def tolist(self) -> Any:
        """The values as plain Python objects."""


Texts = Sequence[str | Sequence[Message | Mapping[str, Any]]] | Array
"""Prompts or completions: strings, or lists of chat messages."""

EmbeddingsByName = (
    Mapping[Literal["prompts", "completions"], Any] | Mapping[Literal["prompts", "completions", "prompt_of"], Any]
)
"""The fields of `Embeddings`."""


class Columns(TypedDict, total=False):
    """What a reward request may carry beside prompts, completions and outcomes; `RewardRequest` explains each."""

    run_id: str | None
    step: int | None
    part: int | None
    parts: int | None
    prompt_ids: Sequence[str] | Array | None
    group_ids: Sequence[str] | Array | None
    index: Sequence[int] | Array | None
    answers: Sequence[str | None] | Array | None
    labels: Sequence[str | None] | Array | None
    truncated: Sequence[bool] | Array | None
    request_id: str | None
    mode: Literal["train", "eval"]
    embeddings: Embeddings | EmbeddingsByName | None


def reward_request(
    prompts: Texts, completions: Texts, outcomes: Sequence[float] | Array, **columns: Unpack[Columns]
) -> RewardRequest:
    """The checked request; a training one without a request id is given one, so that it can be sent again.

    Raises:
        InvalidRequest: a column does not fit the wire.
    """
    fields = {name: _plain(column) for name, column in columns.items() if column is not None}
    if fields.get("mode") != "eval":
        fields.setdefault("request_id", uuid4().hex)
    fields |= {"prompts": _plain(prompts), "completions": _plain(completions)}
    # A verifier often says True or False: an outcome is a number.
    fields["outcomes"] = [float(outcome) if isinstance(outcome, bool) else outcome for outcome in _plain(outcomes)]
    return checked(RewardRequest, **fields)


def checked(body: type[Body], **fields: Any) -> Body:
    """A body with these fields.

    Raises:
        InvalidRequest: they do not fit.
    """
    try:
        return body(**fields)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> InvalidRequest:
    """The first thing that is wrong, as the service would say it; texts are not repeated."""
    first = error.errors(include_url=False)[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    return InvalidRequest(
        f"{place or 'request'}: {first['msg'].removeprefix('Value error, ')}.",
        value=first["input"] if isinstance(first["input"], int | float) else type(first["input"]).__name__,
        remedy="Nothing was sent.",
    )


def encode(request: RewardRequest) -> tuple[bytes, str]:
    """The request's bytes and their content type: MessagePack where that carries embeddings as they lie in memory.

    Raises:
        InvalidRequest: a text that UTF-8 cannot carry.
    """
    try:
        packed = _msgpack(request)
        return (packed, MSGPACK) if packed is not None else (_json(request), JSON)
    except ValueError as error:
        raise InvalidRequest(
            f"a text cannot be written as UTF-8 ({error}).", remedy="Remove lone surrogates; nothing was sent."
        ) from None


def _json(request: RewardRequest) -> bytes:
    if (sent := request.embeddings) is not None:
        lists = {"prompts": _plain(sent.prompts), "completions": _plain(sent.completions)}
        request = request.model_copy(update={"embeddings": sent.model_copy(update=lists)})
    return request.model_dump_json(exclude_unset=True).encode()


def _msgpack(request: RewardRequest) -> bytes | None:
    """MessagePack where it is installed and carries the embeddings as they lie in memory; else None."""
    if (sent := request.embeddings) is None:
        return None
    n, prompt_of = len(request.prompts), sent.prompt_of
    prompts = _float32(sent.prompts, n if prompt_of is None else max(prompt_of, default=-1) + 1)
    completions = _float32(sent.completions, n)
    if prompts is None or completions is None:
        return None
    try:
        import msgpack
    except ImportError:  # it comes with the service; the client alone says the same in JSON
        return None
    fields = request.model_dump(mode="json", exclude_unset=True, exclude={"embeddings"})
    if prompt_of is None and n:
        prompts, prompt_of = _each_once(prompts, n)
    embeddings: dict[str, Any] = {"prompts": prompts, "completions": completions}
    if prompt_of is not None:
        embeddings["prompt_of"] = prompt_of
    packed: bytes = msgpack.packb({**fields, "embeddings": embeddings})
    return packed


def _each_once(rows: bytes, n: int) -> tuple[bytes, list[int] | None]:
    """The distinct ones of n rows, and which of them each is (n), or None where all differ."""
    size = len(rows) // n
    places: dict[bytes, int] = {}
    prompt_of, before, place = [], b"", 0
    for start in range(0, n * size, size or 1):
        row = rows[start : start + size]
        if row != before:  # the items of a group follow each other, and to compare costs less than to hash
            before, place = row, places.setdefault(row, len(places))
        prompt_of.append(place)
    return (b"".join(places), prompt_of) if len(places) < n else (rows, None)


def _float32(matrix: Any, n: int) -> bytes | None:
    """Row-major bytes of an array (n, d) of float32, or a tensor of less; None where only JSON keeps the values."""
    try:
        if hasattr(matrix, "detach"):  # a torch tensor has no buffer, its numpy view has
            matrix = matrix.detach().cpu()
            matrix = (matrix.float() if matrix.element_size() < 4 else matrix).numpy()
        view = memoryview(matrix)
    except (TypeError, ValueError, BufferError):
        return None
    if view.format != "f" or view.ndim != 2 or len(view) != n or sys.byteorder != "little":
        return None
    return view.tobytes()


def _plain(values: Any) -> Any:
    """Arrays of any library, and scalars of theirs in a list, as plain Python objects; a str or dict stays itself."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, list | tuple):
        return [value.tolist() if hasattr(value, "tolist") else value for value in values]
    return values
