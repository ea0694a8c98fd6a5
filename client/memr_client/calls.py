"""One call to the service, without any I/O: what is sent, and what an answer means. Both clients share every line."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import httpx
from pydantic import TypeAdapter, ValidationError

from memr_client.columns import JSON, Array, Columns, Texts, checked, encode, reward_request
from memr_client.errors import BadAnswer, MemrError, from_document
from memr_client.schemas import (
    Audits,
    Calibration,
    Checkpoint,
    CheckpointList,
    Completions,
    Explain,
    Explanation,
    Fork,
    History,
    HistoryRow,
    Map,
    NewCheckpoint,
    Page,
    Provenance,
    ReplayLine,
    ReplayRequest,
    Restore,
    RewardResponse,
    RunConfig,
    RunInfo,
    RunList,
    Version,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

Answer = TypeVar("Answer")

OCTETS = "application/octet-stream"
PROBLEM = "application/problem+json"
ENDED_EARLY = "the answer ended before the result came: was the service stopped?"


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """What is sent, and how its answer is read. `content` of bytes may be sent any number of times."""

    method: str
    path: str
    parse: Callable[[bytes], Answer]
    content: bytes | Iterable[bytes] | AsyncIterable[bytes] | None = None
    content_type: str = JSON
    request_id: str | None = None
    run_id: str | None = None
    """The run, where the path does not name it: told in a header, for whoever routes requests by run."""

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
    request = reward_request(prompts, completions, outcomes, **columns)
    content, content_type = encode(request)
    parse = RewardResponse.model_validate_json
    return Call("POST", "/reward", parse, content, content_type, request.request_id, request.run_id)


def create_run(run_id: str, config: RunConfig | None, **fields: Any) -> Call[RunInfo]:
    """`PUT /runs/{id}`; only fields that were set are sent, the preset gives the others."""
    given = config.model_dump(exclude_unset=True) if config is not None else {}
    content = checked(RunConfig, **{**given, **fields}).model_dump_json(exclude_unset=True).encode()
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


def calibrate(run_id: str) -> Call[Calibration]:
    """`GET /runs/{id}/calibrate`."""
    return Call("GET", _run_path(run_id, "/calibrate"), Calibration.model_validate_json)


def create_checkpoint(run_id: str, name: str, step: int | None) -> Call[Checkpoint]:
    """`POST /runs/{id}/checkpoints`."""
    content = checked(NewCheckpoint, name=name, step=step).model_dump_json().encode()
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
    content = checked(Restore, checkpoint=checkpoint).model_dump_json().encode()
    return Call("POST", _run_path(run_id, "/restore"), RunInfo.model_validate_json, content)


def fork(run_id: str, new_run_id: str, checkpoint: str | None) -> Call[RunInfo]:
    """`POST /runs/{id}/fork`."""
    content = checked(Fork, run_id=new_run_id, checkpoint=checkpoint).model_dump_json().encode()
    return Call("POST", _run_path(run_id, "/fork"), RunInfo.model_validate_json, content)


def audits(run_id: str, at: int | None) -> Call[Audits]:
    """`GET /runs/{id}/audits`."""
    return Call("GET", _run_path(run_id, "/audits" if at is None else f"/audits?at={at}"), Audits.model_validate_json)


def provenance(run_id: str) -> Call[Provenance]:
    """`GET /runs/{id}/provenance`."""
    return Call("GET", _run_path(run_id, "/provenance"), Provenance.model_validate_json)


def explain(run_id: str, fields: Mapping[str, Any]) -> Call[Explanation]:
    """`POST /runs/{id}/explain`."""
    content = checked(Explain, **fields).model_dump_json(exclude_unset=True).encode()
    return Call("POST", _run_path(run_id, "/explain"), Explanation.model_validate_json, content)


def replay(run_id: str, settings: Sequence[RunConfig | Mapping[str, Any]]) -> Call[ReplayLine]:
    """`POST /runs/{id}/replay`, whose answer is received line by line; of each setting what was set is sent."""
    given = [one if isinstance(one, RunConfig) else checked(RunConfig, **one) for one in settings]
    content = checked(ReplayRequest, settings=given).model_dump_json(exclude_unset=True).encode()
    return Call("POST", _run_path(run_id, "/replay"), _replay_line, content)


def completions(run_id: str, **page: Unpack[Page]) -> Call[Completions]:
    """`GET /runs/{id}/completions`."""
    query = urlencode({name: value for name, value in page.items() if value is not None})
    return Call("GET", _run_path(run_id, f"/completions?{query}"), Completions.model_validate_json)


def memory_map(run_id: str, most: int) -> Call[Map]:
    """`GET /runs/{id}/map`."""
    return Call("GET", _run_path(run_id, f"/map?most={most}"), Map.model_validate_json)


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


def _replay_line(line: bytes) -> ReplayLine:
    """A line of a replay's answer.

    Raises:
        ProblemError: the replay ended with it.
    """
    read = ReplayLine.model_validate_json(line)
    if read.problem is not None:
        raise from_document(read.problem.model_dump())
    return read


def _run_path(run_id: str, rest: str = "") -> str:
    return f"/runs/{quote(run_id, safe='')}{rest}"


def _unlike_memr(response: httpx.Response) -> str:
    start = response.content[:200].decode("utf-8", "replace")
    return (
        f"{response.request.method} {response.request.url} was answered with status {response.status_code} and "
        f"something that is not memr's: {start!r}. Is the address right, is a proxy between, are both of one version?"
    )
