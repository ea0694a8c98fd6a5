"""One call to the service, without any I/O: what is sent, and what an answer means. Both clients share every line."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypedDict, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from memr_client.errors import BadAnswer, InvalidRequest, MemrError, from_document
from memr_client.schemas import (
    Checkpoint,
    CheckpointList,
    Embeddings,
    Fork,
    History,
    HistoryRow,
    Message,
    NewCheckpoint,
    Restore,
    RewardRequest,
    RewardResponse,
    RunConfig,
    RunInfo,
    RunList,
    Version,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

Answer = TypeVar("Answer")
Body = TypeVar("Body", bound=BaseModel)

JSON = "application/json"
MSGPACK = "application/msgpack"
OCTETS = "application/octet-stream"
PROBLEM = "application/problem+json"


class Array(Protocol):
    """An array of any library (numpy, torch, pandas): something that can turn itself into a list."""

    def tolist(self) -> Any:
        """The values as plain Python objects."""


Texts = Sequence[str | Sequence[Message | Mapping[str, Any]]] | Array
"""Prompts or completions: strings, or lists of chat messages."""


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
    embeddings: Embeddings | Mapping[Literal["prompts", "completions"], Any] | None


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """What is sent, and how its answer is read. `content` of bytes may be sent any number of times."""

    method: str
    path: str
    parse: Callable[[bytes], Answer]
    content: bytes | Iterable[bytes] | AsyncIterable[bytes] | None = None
    content_type: str = JSON
    request_id: str | None = None

    def read(self, response: httpx.Response) -> Answer:
        """The answer in `response`, whose body has been received.

        Raises:
            ProblemError: the service answered with a problem.
            BadAnswer: what answered is not a memr service.
        """
        if not response.is_success:
            raise refusal(response)
        try:
            return self.parse(response.content)
        except ValidationError as error:
            raise BadAnswer(_unlike_memr(response)) from error


def reward(
    prompts: Texts, completions: Texts, outcomes: Sequence[float] | Array, **columns: Unpack[Columns]
) -> Call[RewardResponse]:
    """`POST /reward`; the request id is made here, so that every try carries the same one.

    Raises:
        InvalidRequest: a column does not fit the wire.
    """
    fields = {name: _plain(column) for name, column in columns.items() if column is not None}
    if fields.get("mode") != "eval":
        fields.setdefault("request_id", uuid4().hex)
    # A verifier often says True or False: an outcome is a number.
    numbers = [float(outcome) if isinstance(outcome, bool) else outcome for outcome in _plain(outcomes)]
    request = _checked(
        RewardRequest, prompts=_plain(prompts), completions=_plain(completions), outcomes=numbers, **fields
    )
    content, content_type = _body(request)
    return Call("POST", "/reward", RewardResponse.model_validate_json, content, content_type, request.request_id)


def create_run(run_id: str, config: RunConfig | None, **fields: Any) -> Call[RunInfo]:
    """`PUT /runs/{id}`; only fields that were set are sent, the preset gives the others."""
    given = config.model_dump(exclude_unset=True) if config is not None else {}
    content = _checked(RunConfig, **{**given, **fields}).model_dump_json(exclude_unset=True).encode()
    return Call("PUT", _run_path(run_id), RunInfo.model_validate_json, content)


def run(run_id: str, digest: bool) -> Call[RunInfo]:
    """`GET /runs/{id}`."""
    return Call("GET", _run_path(run_id, "?digest=1" if digest else ""), RunInfo.model_validate_json)


def runs() -> Call[list[RunInfo]]:
    """`GET /runs`."""
    return Call("GET", "/runs", lambda body: RunList.model_validate_json(body).runs)


def delete_run(run_id: str) -> Call[None]:
    """`DELETE /runs/{id}`."""
    return Call("DELETE", _run_path(run_id), lambda body: None)


def history(run_id: str, after: int, limit: int) -> Call[list[HistoryRow]]:
    """`GET /runs/{id}/history`."""
    parse = History.model_validate_json
    return Call("GET", _run_path(run_id, f"/history?after={after}&limit={limit}"), lambda body: parse(body).rows)


def create_checkpoint(run_id: str, name: str, step: int | None) -> Call[Checkpoint]:
    """`POST /runs/{id}/checkpoints`."""
    content = _checked(NewCheckpoint, name=name, step=step).model_dump_json().encode()
    return Call("POST", _run_path(run_id, "/checkpoints"), Checkpoint.model_validate_json, content)


def checkpoints(run_id: str) -> Call[list[Checkpoint]]:
    """`GET /runs/{id}/checkpoints`."""
    parse = CheckpointList.model_validate_json
    return Call("GET", _run_path(run_id, "/checkpoints"), lambda body: parse(body).checkpoints)


def delete_checkpoint(run_id: str, name: str) -> Call[None]:
    """`DELETE /runs/{id}/checkpoints/{name}`."""
    return Call("DELETE", _run_path(run_id, f"/checkpoints/{quote(name, safe='')}"), lambda body: None)


def restore(run_id: str, checkpoint: str) -> Call[RunInfo]:
    """`POST /runs/{id}/restore`."""
    content = _checked(Restore, checkpoint=checkpoint).model_dump_json().encode()
    return Call("POST", _run_path(run_id, "/restore"), RunInfo.model_validate_json, content)


def fork(run_id: str, new_run_id: str, checkpoint: str | None) -> Call[RunInfo]:
    """`POST /runs/{id}/fork`."""
    content = _checked(Fork, run_id=new_run_id, checkpoint=checkpoint).model_dump_json().encode()
    return Call("POST", _run_path(run_id, "/fork"), RunInfo.model_validate_json, content)


def presets() -> Call[dict[str, RunConfig]]:
    """`GET /presets`."""
    return Call("GET", "/presets", TypeAdapter(dict[str, RunConfig]).validate_json)


def version() -> Call[Version]:
    """`GET /version`."""
    return Call("GET", "/version", Version.model_validate_json)


def ready() -> Call[dict[str, Any]]:
    """`GET /readyz`."""
    return Call("GET", "/readyz", TypeAdapter(dict[str, Any]).validate_json)


def export_run(run_id: str) -> Call[None]:
    """`GET /runs/{id}/export`, whose answer is received piece by piece."""
    return Call("GET", _run_path(run_id, "/export"), lambda body: None)


def import_run(run_id: str, content: Iterable[bytes] | AsyncIterable[bytes]) -> Call[RunInfo]:
    """`POST /runs/{id}/import`; `content` can be read once, so this is tried once."""
    return Call("POST", _run_path(run_id, "/import"), RunInfo.model_validate_json, content, OCTETS)


def refusal(response: httpx.Response) -> MemrError:
    """The error that an answer without success stands for."""
    if response.headers.get("content-type", "").startswith(PROBLEM):
        try:
            return from_document(response.json(), round(retry_after(response)) or None)
        except (ValueError, AttributeError, BadAnswer):
            pass  # a problem document, but not one of ours
    return BadAnswer(_unlike_memr(response))


def retry_after(response: httpx.Response) -> float:
    """Seconds the answer asks to wait; 0 where it does not."""
    header = response.headers.get("retry-after", "")
    if header.isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except ValueError:
        return 0.0


def _run_path(run_id: str, rest: str = "") -> str:
    return f"/runs/{quote(run_id, safe='')}{rest}"


def _unlike_memr(response: httpx.Response) -> str:
    start = response.content[:200].decode("utf-8", "replace")
    return (
        f"{response.request.method} {response.request.url} was answered with status {response.status_code} and "
        f"something that is not memr's: {start!r}. Is the address right, is a proxy between, are both of one version?"
    )


def _plain(values: Any) -> Any:
    """Arrays of any library, and scalars of theirs in a list, as plain Python objects; a str or dict stays itself."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, list | tuple):
        return [value.tolist() if hasattr(value, "tolist") else value for value in values]
    return values


def _checked(body: type[Body], **fields: Any) -> Body:
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


def _body(request: RewardRequest) -> tuple[bytes, str]:
    """The request's bytes and what they are."""
    try:
        packed = _msgpack(request)
        return (packed, MSGPACK) if packed is not None else (_json(request), JSON)
    except ValueError as error:
        raise InvalidRequest(
            f"a text cannot be written as UTF-8 ({error}).", remedy="Remove lone surrogates; nothing was sent."
        ) from None


def _json(request: RewardRequest) -> bytes:
    if (sent := request.embeddings) is not None:
        lists = Embeddings(prompts=_plain(sent.prompts), completions=_plain(sent.completions))
        request = request.model_copy(update={"embeddings": lists})
    return request.model_dump_json(exclude_unset=True).encode()


def _msgpack(request: RewardRequest) -> bytes | None:
    """MessagePack where it is installed and carries the embeddings as they lie in memory; else None."""
    if (sent := request.embeddings) is None:
        return None
    n = len(request.prompts)
    prompts, completions = _float32(sent.prompts, n), _float32(sent.completions, n)
    if prompts is None or completions is None:
        return None
    try:
        import msgpack
    except ImportError:  # it comes with the service; the client alone says the same in JSON
        return None
    fields = request.model_dump(mode="json", exclude_unset=True, exclude={"embeddings"})
    packed: bytes = msgpack.packb({**fields, "embeddings": {"prompts": prompts, "completions": completions}})
    return packed


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
