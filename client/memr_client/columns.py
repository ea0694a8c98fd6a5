"""The columns of a reward request: lists and arrays of any library, checked and written as JSON or MessagePack."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from memr_client.errors import InvalidRequest
from memr_client.plain import is_missing, plain, plain_text
from memr_client.schemas import Embeddings, Message, RewardRequest, distinct, refusal

if TYPE_CHECKING:
    from typing_extensions import Unpack

Body = TypeVar("Body", bound=BaseModel)

JSON = "application/json"
MSGPACK = "application/msgpack"


class Array(Protocol):
    """An array of any library (numpy, torch, pandas) that can turn itself into a list."""

    def tolist(self) -> Any:
        """The values as plain Python objects."""


Texts = Sequence[str | Sequence[Message | Mapping[str, Any]]] | Array
"""Prompts or completions: strings, or lists of chat messages."""

EmbeddingsByName = (
    Mapping[Literal["prompts", "completions"], Any] | Mapping[Literal["prompts", "completions", "prompt_of"], Any]
)
"""The fields of `Embeddings`."""


class Columns(TypedDict, total=False):
    """Optional fields of a reward request; `RewardRequest` documents each."""

    run_id: str | None
    step: int | None
    part: int | None
    parts: int | None
    prompt_ids: Sequence[str | int] | Array | None
    group_ids: Sequence[str | int] | Array | None
    index: Sequence[int] | Array | None
    answers: Sequence[str | float | None] | Array | None
    references: Sequence[str | float | None] | Array | None
    labels: Sequence[str | float | None] | Array | None
    truncated: Sequence[bool] | Array | None
    equal_spread: float | None
    request_id: str | None
    mode: Literal["train", "eval"]
    embeddings: Embeddings | EmbeddingsByName | None


def reward_request(
    prompts: Texts, completions: Texts, outcomes: Sequence[float] | Array, **columns: Unpack[Columns]
) -> RewardRequest:
    """The validated request. A training request without a request id gets one, so that it can be sent again.

    Raises:
        InvalidRequest: a column does not fit the wire.
    """
    fields = {name: plain(column) for name, column in columns.items() if column is not None}
    if fields.get("mode") != "eval":
        fields.setdefault("request_id", uuid4().hex)
    for name, texts in (("prompts", plain(prompts)), ("completions", plain(completions))):
        is_column = isinstance(texts, list)
        fields[name] = [plain_text(text, f"{name}[{n}]") for n, text in enumerate(texts)] if is_column else texts
    fields["outcomes"] = plain(outcomes)
    for name in ("answers", "references", "labels"):
        if isinstance(column := fields.get(name), list):
            fields[name] = [None if is_missing(one) else one for one in column]
    return checked(RewardRequest, **fields)


def checked(body: type[Body], **fields: Any) -> Body:
    """A body with these fields, validated.

    Raises:
        InvalidRequest: a field does not fit.
    """
    try:
        return body(**fields)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError, remedy: str = "Nothing was sent.") -> InvalidRequest:
    """The first validation error, worded as the service words it."""
    first = refusal(distinct(error.errors(include_url=False))[0], null="None")
    remedies = [one for one in (first.remedy, remedy) if one]
    return InvalidRequest(first.says, value=first.value, limit=first.limit, remedy=" ".join(remedies))


def encode(request: RewardRequest) -> tuple[bytes, str]:
    """The request's bytes and content type: MessagePack if it can carry the embeddings as raw float32, otherwise JSON.

    Half of a surrogate pair is sent as it is. The service reads it as U+FFFD, and its warning names the item.
    """
    packed = _msgpack(request)
    return (packed, MSGPACK) if packed is not None else (as_json(request), JSON)


def as_json(body: BaseModel) -> bytes:
    """A body as JSON, without fields that were not set; embeddings as lists.

    Raises:
        InvalidRequest: it holds an object that JSON cannot carry.
    """
    if (sent := getattr(body, "embeddings", None)) is not None:
        lists = {"prompts": plain(sent.prompts), "completions": plain(sent.completions)}
        body = body.model_copy(update={"embeddings": sent.model_copy(update=lists)})
    try:
        return body.model_dump_json(exclude_unset=True).encode()
    except ValueError:
        pass  # half of a surrogate pair, which JSON carries only as an escape, or an object
    try:
        return json.dumps(body.model_dump(exclude_unset=True)).encode()
    except TypeError as error:
        raise InvalidRequest(f"JSON cannot carry a value: {error}.", remedy="Nothing was sent.") from None


def _msgpack(request: RewardRequest) -> bytes | None:
    """The request as MessagePack; None without embeddings, without float32 arrays, or if msgpack is not installed."""
    if (sent := request.embeddings) is None:
        return None
    n, prompt_of = len(request.prompts), sent.prompt_of
    prompts = _float32(sent.prompts, n if prompt_of is None else max(prompt_of, default=-1) + 1)
    completions = _float32(sent.completions, n)
    if prompts is None or completions is None:
        return None
    try:
        import msgpack
    except ImportError:  # msgpack is installed with the service; the client alone sends JSON
        return None
    fields = request.model_dump(mode="json", exclude_unset=True, exclude={"embeddings"})
    if prompt_of is None and n:
        prompts, prompt_of = _distinct_rows(prompts, n)
    embeddings: dict[str, Any] = {"prompts": prompts, "completions": completions}
    if prompt_of is not None:
        embeddings["prompt_of"] = prompt_of
    packed: bytes = msgpack.packb({**fields, "embeddings": embeddings}, unicode_errors="surrogatepass")
    return packed


def _distinct_rows(rows: bytes, n: int) -> tuple[bytes, list[int] | None]:
    """The distinct rows among n, and for each row the number of its distinct row (n); None if all differ."""
    size = len(rows) // n
    numbers: dict[bytes, int] = {}
    row_of, previous, number = [], b"", 0
    for start in range(0, n * size, size or 1):
        row = rows[start : start + size]
        if row != previous:  # the items of a group are adjacent, and comparing is cheaper than hashing
            previous, number = row, numbers.setdefault(row, len(numbers))
        row_of.append(number)
    return (b"".join(numbers), row_of) if len(numbers) < n else (rows, None)


def _float32(matrix: Any, n: int) -> bytes | None:
    """Row-major bytes of a float32 array (n, d), or of a tensor of lower precision; None if only JSON is exact."""
    try:
        if hasattr(matrix, "detach"):  # a torch tensor has no buffer, but its numpy view has one
            matrix = matrix.detach().cpu()
            matrix = (matrix.float() if matrix.element_size() < 4 else matrix).numpy()
        view = memoryview(matrix)
    except (TypeError, ValueError, BufferError):
        return None
    if view.format != "f" or view.ndim != 2 or len(view) != n or sys.byteorder != "little":
        return None
    return view.tobytes()
