"""One function per route: the request to send and how to read its response. No I/O, so both clients share it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlencode

import httpx
from pydantic import TypeAdapter, ValidationError

from memr_client.columns import JSON, Array, Columns, Texts, as_json, checked, encode, reward_request
from memr_client.errors import BadResponse, InvalidRequest, from_document
from memr_client.names import checked_key, checked_name
from memr_client.plain import plain, plain_text
from memr_client.responses import error_from, not_from_memr
from memr_client.schemas import (
    Audits,
    Backtest,
    Calibration,
    Checkpoint,
    CheckpointList,
    Completions,
    Decided,
    DecisionList,
    DecisionsRequest,
    Explain,
    Explanation,
    Fork,
    History,
    HistoryRow,
    KnownPrompts,
    Map,
    NewCheckpoint,
    OpenRLHFRequest,
    OpenRLHFResponse,
    Page,
    PassRatesOverSteps,
    Plan,
    PlanRequest,
    PoolInfo,
    PoolRequest,
    PresetName,
    PriorOutcomes,
    PromptHistory,
    PromptPage,
    Provenance,
    ReplayLine,
    ReplayRequest,
    Restore,
    RewardResponse,
    RunConfig,
    RunInfo,
    RunList,
    Suspects,
    Version,
    nearest,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

Result = TypeVar("Result")

Config = RunConfig | Mapping[str, Any] | None
"""A run's config, or its fields."""

POOL_PART, POOL_PART_CHARS = 100_000, 1 << 24
"""Prompts of a pool that one request carries, and about so many characters of their texts at most."""
OCTETS = "application/octet-stream"
ENDED_EARLY = "the response ended before the replay's result arrived: was the service stopped?"


@dataclass(frozen=True)
class Call(Generic[Result]):
    """A request, and the function that parses its response."""

    method: str
    path: str
    parse: Callable[[bytes], Result]
    content: bytes | Iterable[bytes] | AsyncIterable[bytes] | None = None
    """The body. Bytes can be sent several times, an iterable once."""
    content_type: str = JSON
    request_id: str | None = None
    run_id: str | None = None
    """The run, where the path does not name it. It is sent as the header `x-memr-run`, for proxies that route by
    run."""

    def read(self, response: httpx.Response, proxy: object = None) -> Result:
        """The parsed body of `response`, which came through `proxy`.

        Raises:
            ProblemError: the service responded with a problem.
            BadResponse: the response is not from a memr service.
        """
        if not response.is_success:
            raise error_from(response, proxy)
        try:
            return self.parse(response.content)
        except ValidationError as error:
            raise BadResponse(not_from_memr(response, proxy)) from error


def reward(
    prompts: Texts, completions: Texts, outcomes: Sequence[float] | Array, **columns: Unpack[Columns]
) -> Call[RewardResponse]:
    """`POST /reward`. The request id is chosen here, so that all tries carry the same one.

    Raises:
        InvalidRequest: a column does not fit the wire.
    """
    request = reward_request(prompts, completions, outcomes, **columns)
    content, content_type = encode(request)
    parse = RewardResponse.model_validate_json
    return Call("POST", "/reward", parse, content, content_type, request.request_id, request.run_id)


def openrlhf(run_id: str, request: OpenRLHFRequest) -> Call[OpenRLHFResponse]:
    """`POST /openrlhf/{id}`."""
    parse = OpenRLHFResponse.model_validate_json
    return Call("POST", f"/openrlhf/{checked_name(run_id)}", parse, as_json(request), request_id=request.request_id)


def run_config(config: Config, preset: PresetName | None) -> RunConfig | None:
    """The config that a caller means by a config, a preset or both; None for neither.

    Raises:
        InvalidRequest: they name different presets, or a field does not fit.
    """
    if preset is None:
        return config if config is None or isinstance(config, RunConfig) else checked(RunConfig, **config)
    given = _set_fields(config)
    if given.get("preset", preset) != preset:
        raise InvalidRequest(
            f"preset={preset!r}, but the config has preset {given['preset']!r}.",
            value=preset,
            limit=given["preset"],
            remedy="Pass one of them.",
        )
    return checked(RunConfig, **{**given, "preset": preset})


def _set_fields(config: Config) -> dict[str, Any]:
    return config.model_dump(exclude_unset=True) if isinstance(config, RunConfig) else dict(config or {})


def create_run(run_id: str, config: Config, **fields: Any) -> Call[RunInfo]:
    """`PUT /runs/{id}`. Only fields that were set are sent; the others come from the preset."""
    if "default_preset" in fields:
        raise InvalidRequest("a run has no field 'default_preset'.", value="default_preset", remedy="Write preset=...")
    content = as_json(checked(RunConfig, **{**_set_fields(config), **fields}))
    return Call("PUT", _run_path(run_id), RunInfo.model_validate_json, content)


def run(run_id: str, digest: bool) -> Call[RunInfo]:
    """`GET /runs/{id}`."""
    return Call("GET", _run_path(run_id, digest=1 if digest else None), RunInfo.model_validate_json)


def runs() -> Call[list[RunInfo]]:
    """`GET /runs`."""
    return Call("GET", "/runs", lambda body: RunList.model_validate_json(body).runs)


def delete_run(run_id: str) -> Call[None]:
    """`DELETE /runs/{id}`."""
    return Call("DELETE", _run_path(run_id), lambda body: None)


def history(run_id: str, after: int, limit: int) -> Call[list[HistoryRow]]:
    """`GET /runs/{id}/history`."""
    parse = History.model_validate_json
    return Call("GET", _run_path(run_id, "/history", after=after, limit=limit), lambda body: parse(body).rows)


def calibrate(run_id: str) -> Call[Calibration]:
    """`GET /runs/{id}/calibrate`."""
    return Call("GET", _run_path(run_id, "/calibrate"), Calibration.model_validate_json)


def create_checkpoint(run_id: str, name: str, step: int | None) -> Call[Checkpoint]:
    """`POST /runs/{id}/checkpoints`."""
    content = checked(NewCheckpoint, name=checked_name(name, "checkpoint"), step=step).model_dump_json().encode()
    return Call("POST", _run_path(run_id, "/checkpoints"), Checkpoint.model_validate_json, content)


def checkpoints(run_id: str) -> Call[list[Checkpoint]]:
    """`GET /runs/{id}/checkpoints`."""
    parse = CheckpointList.model_validate_json
    return Call("GET", _run_path(run_id, "/checkpoints"), lambda body: parse(body).checkpoints)


def delete_checkpoint(run_id: str, name: str) -> Call[None]:
    """`DELETE /runs/{id}/checkpoints/{name}`."""
    return Call("DELETE", _run_path(run_id, f"/checkpoints/{checked_name(name, 'checkpoint')}"), lambda body: None)


def restore(run_id: str, checkpoint: str) -> Call[RunInfo]:
    """`POST /runs/{id}/restore`."""
    content = checked(Restore, checkpoint=checked_name(checkpoint, "checkpoint")).model_dump_json().encode()
    return Call("POST", _run_path(run_id, "/restore"), RunInfo.model_validate_json, content)


def fork(run_id: str, new_run_id: str, checkpoint: str | None) -> Call[RunInfo]:
    """`POST /runs/{id}/fork`."""
    position = None if checkpoint is None else checked_name(checkpoint, "checkpoint")
    content = checked(Fork, run_id=checked_name(new_run_id), checkpoint=position).model_dump_json().encode()
    return Call("POST", _run_path(run_id, "/fork"), RunInfo.model_validate_json, content)


def audits(run_id: str, at: int | None) -> Call[Audits]:
    """`GET /runs/{id}/audits`."""
    return Call("GET", _run_path(run_id, "/audits", at=at), Audits.model_validate_json)


def provenance(run_id: str) -> Call[Provenance]:
    """`GET /runs/{id}/provenance`."""
    return Call("GET", _run_path(run_id, "/provenance"), Provenance.model_validate_json)


def explain(run_id: str, fields: Mapping[str, Any]) -> Call[Explanation]:
    """`POST /runs/{id}/explain`."""
    texts = {name: plain_text(fields[name], name) for name in ("prompt", "completion") if name in fields}
    content = as_json(checked(Explain, **{**fields, **texts}))
    return Call("POST", _run_path(run_id, "/explain"), Explanation.model_validate_json, content)


def replay(run_id: str, settings: Sequence[RunConfig | Mapping[str, Any]]) -> Call[ReplayLine]:
    """`POST /runs/{id}/replay`, whose response is read line by line. Only fields that were set are sent."""
    given = [one if isinstance(one, RunConfig) else checked(RunConfig, **one) for one in settings]
    content = as_json(checked(ReplayRequest, settings=given))
    return Call("POST", _run_path(run_id, "/replay"), _replay_line, content)


def set_pool(run_id: str, prompt_ids: Any, prompts: Any) -> list[Call[PoolInfo]]:
    """`PUT /runs/{id}/pool`: a call for each part of it."""
    ids, texts = plain(prompt_ids), None if prompts is None else plain(prompts)
    if texts is not None and len(texts) != len(ids):
        raise InvalidRequest(
            f"prompts has length {len(texts)}, but prompt_ids {len(ids)}.",
            value=len(texts),
            limit=len(ids),
            remedy="Send one text for each id.",
        )
    bodies = []
    for of in _pool_parts(len(ids), texts):
        body = {"prompt_ids": ids[of], "prompts": None if texts is None else _texts(texts[of], "prompts")}
        bodies.append(as_json(checked(PoolRequest, **body)))
    upload = hashlib.sha256(b"\n".join(bodies)).hexdigest()
    return [
        Call(
            "PUT",
            _run_path(run_id, "/pool", part=part, parts=len(bodies), upload=upload if len(bodies) > 1 else None),
            PoolInfo.model_validate_json,
            body,
        )
        for part, body in enumerate(bodies)
    ]


def _pool_parts(n: int, texts: Sequence[Any] | None) -> Iterator[slice]:
    """Which of a pool's n prompts each request carries."""
    start = chars = 0
    for end in range(1, n):
        chars += 0 if texts is None else len(str(texts[end - 1]))
        if end - start == POOL_PART or chars >= POOL_PART_CHARS:
            yield slice(start, end)
            start, chars = end, 0
    yield slice(start, n)


def pool(run_id: str) -> Call[PoolInfo]:
    """`GET /runs/{id}/pool`."""
    return Call("GET", _run_path(run_id, "/pool"), PoolInfo.model_validate_json)


def delete_pool(run_id: str) -> Call[None]:
    """`DELETE /runs/{id}/pool`."""
    return Call("DELETE", _run_path(run_id, "/pool"), lambda body: None)


def plan(run_id: str, fields: Mapping[str, Any]) -> Call[Plan]:
    """`POST /runs/{id}/plan`."""
    lists = {name: plain(fields[name]) for name in ("candidates", "exclude") if fields.get(name) is not None}
    if fields.get("prompts") is not None:
        lists["prompts"] = _texts(plain(fields["prompts"]), "prompts")
    content = as_json(checked(PlanRequest, **{**fields, **lists}))
    return Call("POST", _run_path(run_id, "/plan"), Plan.model_validate_json, content)


def add_prior(run_id: str, right: Any, n: Any, prompt_ids: Any, prompts: Any) -> Call[None]:
    """`POST /runs/{id}/prior`."""
    texts = None if prompts is None else _texts(plain(prompts), "prompts")
    given = checked(PriorOutcomes, prompt_ids=plain(prompt_ids), prompts=texts, right=plain(right), n=plain(n))
    return Call("POST", _run_path(run_id, "/prior"), lambda body: None, as_json(given))


def _texts(texts: Sequence[Any], name: str) -> list[Any]:
    return [plain_text(text, f"{name}[{item}]") for item, text in enumerate(texts)]


def backtest(run_id: str) -> Call[Backtest]:
    """`GET /runs/{id}/backtest`."""
    return Call("GET", _run_path(run_id, "/backtest"), Backtest.model_validate_json)


def suspects(
    run_id: str, min_probability: float, limit: int, runs: Sequence[str], prior: float | None
) -> Call[Suspects]:
    """`GET /runs/{id}/suspects`."""
    others = [checked_name(one) for one in ([runs] if isinstance(runs, str) else runs)]
    asked = {"min_probability": min_probability, "limit": limit, "runs": others or None, "prior": prior}
    return Call("GET", _run_path(run_id, "/suspects", **asked), Suspects.model_validate_json)


def set_decisions(run_id: str, given: Iterable[Mapping[str, Any]], add: bool) -> Call[list[Decided]]:
    """`PUT /runs/{id}/decisions`."""
    rows = [
        {**row, "prompt": plain_text(row["prompt"], "prompt")} if row.get("prompt") is not None else {**row}
        for row in given
    ]
    content = as_json(checked(DecisionsRequest, decisions=rows, add=add))
    return Call("PUT", _run_path(run_id, "/decisions"), _decided, content)


def decisions(run_id: str) -> Call[list[Decided]]:
    """`GET /runs/{id}/decisions`."""
    return Call("GET", _run_path(run_id, "/decisions"), _decided)


def _decided(body: bytes) -> list[Decided]:
    return DecisionList.model_validate_json(body).decisions


def completions(run_id: str, **page: Unpack[Page]) -> Call[Completions]:
    """`GET /runs/{id}/completions`."""
    _check_page("completions", page, Page.__annotations__)
    return Call("GET", _run_path(run_id, "/completions", **page), Completions.model_validate_json)


def _check_page(of: str, page: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise `InvalidRequest` for an argument that a list does not have."""
    for name in page.keys() - known.keys():
        remedy = f"Did you mean {near!r}?" if (near := nearest(name, known)) else None
        raise InvalidRequest(f"{of} has no argument {name!r}.", value=name, limit=list(known), remedy=remedy)


def prompts(run_id: str, **page: Unpack[PromptPage]) -> Call[KnownPrompts]:
    """`GET /runs/{id}/prompts`."""
    _check_page("prompts", page, PromptPage.__annotations__)
    return Call("GET", _run_path(run_id, "/prompts", **page), KnownPrompts.model_validate_json)


def prompt(run_id: str, key: str) -> Call[PromptHistory]:
    """`GET /runs/{id}/prompts/{key}`."""
    return Call("GET", _run_path(run_id, f"/prompts/{checked_key(key)}"), PromptHistory.model_validate_json)


def forget_prompt(run_id: str, key: str) -> Call[None]:
    """`DELETE /runs/{id}/prompts/{key}`."""
    return Call("DELETE", _run_path(run_id, f"/prompts/{checked_key(key)}"), lambda body: None)


def pass_rates(run_id: str) -> Call[PassRatesOverSteps]:
    """`GET /runs/{id}/pass-rates`."""
    return Call("GET", _run_path(run_id, "/pass-rates"), PassRatesOverSteps.model_validate_json)


def memory_map(run_id: str, most: int) -> Call[Map]:
    """`GET /runs/{id}/map`."""
    return Call("GET", _run_path(run_id, "/map", most=most), Map.model_validate_json)


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
    """`GET /runs/{id}/export`, whose response is read in chunks."""
    return Call("GET", _run_path(run_id, "/export"), lambda body: None)


def import_run(run_id: str, content: Iterable[bytes] | AsyncIterable[bytes]) -> Call[RunInfo]:
    """`POST /runs/{id}/import`. `content` can be read once, so the call is tried once."""
    return Call("POST", _run_path(run_id, "/import"), RunInfo.model_validate_json, content, OCTETS)


def _replay_line(line: bytes) -> ReplayLine:
    """One line of a replay's response.

    Raises:
        ProblemError: the line reports a problem.
    """
    read = ReplayLine.model_validate_json(line)
    if read.problem is not None:
        raise from_document(read.problem.model_dump())
    return read


def _run_path(run_id: str, rest: str = "", **query: Any) -> str:
    """A path under a run. The name is checked, because `..` would lead elsewhere.

    Raises:
        InvalidRequest: it is not the name of a run.
    """
    asked = urlencode({name: value for name, value in query.items() if value is not None}, doseq=True)
    return f"/runs/{checked_name(run_id)}{rest}{'?' if asked else ''}{asked}"
