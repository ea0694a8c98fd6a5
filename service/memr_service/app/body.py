"""Request bodies: read, decompressed, parsed and validated.

A body is JSON or MessagePack, as its content type says, plain or gzip. No body is an empty object. A missing or
unsupported content type or encoding is a 415, a body over a limit a 413, an invalid body or field a 422. Half of a
surrogate pair is no error: it is read as U+FFFD, with a warning.
"""

from __future__ import annotations

import asyncio
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

import anyio
import msgpack
import orjson
from memr_client.errors import InvalidRequest, MalformedBody, TooLarge, UnsupportedMedia
from memr_client.schemas import (
    Explain,
    Message,
    OpenRLHFRequest,
    PlanRequest,
    PoolRequest,
    PriorOutcomes,
    RewardRequest,
    are_strings,
    halves_warning,
    without_halves,
)
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request

from memr_service.app import body_size, json_fault
from memr_service.app.arrival import SLOWEST, too_slow
from memr_service.app.large_bodies import LARGE
from memr_service.app.problems import invalid
from memr_service.settings import Settings

BIG = 1 << 18
"""Bodies larger than this many bytes are parsed in a thread, so that they do not block other requests."""

PIECE, PACKED_PIECE = 1 << 20, 1 << 16
"""Bytes that are unpacked at a time, and are given to the unpacking. Other threads have a turn after each."""

ENTRIES = 16
"""Entries of a list that are checked at a time."""

PARSER = ThreadPoolExecutor(1, "memr-bodies")
"""The thread. There is one, so that the memory of one big body is the most that parsing takes."""

COLUMNS: dict[type[BaseModel], tuple[str, ...]] = {
    RewardRequest: ("prompts", "completions", "prompt_ids", "group_ids", "answers", "references", "labels"),
    OpenRLHFRequest: ("query", "prompts", "labels"),
    Explain: ("prompt", "completion", "prompt_id"),
    PoolRequest: ("prompt_ids", "prompts"),
    PlanRequest: ("candidates", "prompts", "exclude"),
    PriorOutcomes: ("prompt_ids", "prompts"),
}
"""Fields that hold texts, each of at most `max_text_chars` characters; where they are lists beside completions,
of at most `max_items`."""

Model = TypeVar("Model", bound=BaseModel)


async def parse(request: Request, model: type[Model], settings: Settings) -> Model:
    """Read the request's body as a `model`. The request's state keeps the raw bytes (`body`), what the caller should
    know about them (`warnings`), and the place of a large body until the response is sent (`place`).

    Raises:
        MalformedBody: the body is not valid JSON, MessagePack or gzip.
        InvalidRequest: a field is wrong.
        TooLarge: the body exceeds a limit of the settings.
        TooSlow: the body did not arrive in time.
        Overloaded: the bodies of other requests leave no room.
        UnsupportedMedia: the content type or encoding is not supported.
    """
    media, gzipped = _media(request), _is_gzipped(request)
    raw = request.state.body = await _read(request, settings)
    await request.state.place.enter(_unpacked(raw, settings.max_body_bytes) if gzipped else len(raw))

    def work() -> tuple[Model, list[str]]:
        plain = decompress(raw, settings.max_body_bytes) if gzipped else raw
        request.state.is_large = len(plain) > LARGE
        return decode(plain, media, model, settings)

    if gzipped or len(raw) > BIG:
        body, request.state.warnings = await asyncio.get_running_loop().run_in_executor(PARSER, work)
    else:
        body, request.state.warnings = work()
    return body


def decode(raw: bytes | bytearray, media: str, model: type[Model], settings: Settings) -> tuple[Model, list[str]]:
    """Parse and validate a body, and say what the caller should know; see `parse` for the errors.

    Args:
        raw: the body, unpacked.
        media: `application/json` or `application/msgpack`.
    """
    document, warnings = _read_document(raw, media, model)
    columns = COLUMNS.get(model, ())
    if isinstance(document, dict):
        _check_items(document, columns, settings)
    _check_plain(document, at_once=len(raw) <= BIG)
    try:
        body = model.model_validate(document)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)) from None
    check_texts(body, settings)
    return body, warnings


def _read_document(raw: bytes | bytearray, media: str, model: type[BaseModel]) -> tuple[Any, list[str]]:
    """The body's content. An empty one is an object without fields, if the model needs none."""
    is_empty = len(raw) <= BIG and not raw.strip()
    if is_empty and any(field.is_required() for field in model.model_fields.values()):
        needed = [name for name, field in model.model_fields.items() if field.is_required()]
        raise MalformedBody(
            "The body is empty.", limit=f"an object with {', '.join(needed)}", remedy="Send the fields as JSON."
        )
    if media == "application/json":
        return _from_json(b"{}" if is_empty else raw)
    return _from_msgpack(raw)


def require_media(request: Request, *accepted: str) -> str:
    """The request's content type; the first of `accepted` if there is no body.

    A body needs one: what a browser sends without any, a page of another site can send too.

    Raises:
        UnsupportedMedia: it is none of `accepted`.
    """
    headers = request.headers
    if "content-type" not in headers and not _has_body(headers):
        return accepted[0]
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in accepted:
        raise UnsupportedMedia(
            "This route does not read this content type." if media else "The body has no content type.",
            value=media[:80] or None,
            limit=list(accepted),
            remedy=f"Send the header Content-Type: {accepted[0]}.",
        )
    return media


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip() != "0"


def _media(request: Request) -> str:
    return require_media(request, "application/json", "application/msgpack")


def _is_gzipped(request: Request) -> bool:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise UnsupportedMedia(
            "The server does not read this content encoding.",
            value=encoding[:80],
            limit=["identity", "gzip"],
            remedy="Send the body plain or as gzip.",
        )
    return encoding == "gzip"


async def _read(request: Request, settings: Settings) -> bytearray:
    """The body as it was sent. Received bytes are counted; the Content-Length header is not trusted."""
    body = bytearray()  # a body of many pieces is not copied at once
    with anyio.move_on_after(settings.body_s) as waiting:
        async for piece in request.stream():
            if piece:
                request.state.place.keep(len(piece))
            body += piece
            if len(body) > settings.max_body_bytes:
                raise _too_many_bytes(settings.max_body_bytes)
            waiting.deadline += len(piece) / SLOWEST
        return body
    raise too_slow(len(body), settings.body_s)


def _unpacked(raw: bytes | bytearray, limit: int) -> int:
    """The most bytes that gzip becomes: as its end says, up to the limit. Where that is wrong, it is not whole."""
    return min(int.from_bytes(raw[-4:], "little"), limit)


def decompress(raw: bytes | bytearray, limit: int) -> bytearray:
    """Decompress gzip, a piece at a time. It stops at the limit, so a decompression bomb costs no more than an honest
    body.

    Raises:
        MalformedBody: it is not one whole gzip member. TooLarge: it is larger than the limit.
    """
    decompressor, body, most = zlib.decompressobj(wbits=31), bytearray(), _unpacked(raw, limit)
    for at in range(0, len(raw), PACKED_PIECE):
        left = bytes(raw[at : at + PACKED_PIECE])
        if decompressor.eof:
            break
        while True:
            try:
                piece = decompressor.decompress(left, PIECE)
            except zlib.error:
                raise _malformed("gzip") from None
            body += piece
            if len(body) > most:
                raise _too_many_bytes(limit) if most == limit else _malformed("gzip")
            left = decompressor.unconsumed_tail
            if not left and len(piece) < PIECE:
                break
    else:
        if decompressor.eof and not decompressor.unused_data:
            return body
    raise _malformed("a single, complete gzip member")


def _from_json(raw: bytes | bytearray) -> tuple[Any, list[str]]:
    body_size.check_json(raw)
    try:
        return orjson.loads(raw), []
    except orjson.JSONDecodeError as error:
        malformed = json_fault.describe(raw, error)
    return _without_halves(
        lambda: json.loads(raw.decode("utf-8", "surrogatepass"), parse_constant=_no_number), malformed
    )


def _from_msgpack(raw: bytes | bytearray) -> tuple[Any, list[str]]:
    try:
        return body_size.unpack(raw), []
    except UnicodeDecodeError:
        return _without_halves(lambda: body_size.unpack(raw, unicode_errors="surrogatepass"), _malformed("MessagePack"))
    except (ValueError, TypeError, msgpack.UnpackException):
        raise _malformed("MessagePack") from None


def _without_halves(parse: Callable[[], Any], malformed: MalformedBody) -> tuple[Any, list[str]]:
    """What a lenient parser reads, with halves of surrogate pairs replaced, and a warning.

    Raises:
        MalformedBody: halves are not all that is wrong.
    """
    try:
        document, halves = without_halves(parse())
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        raise malformed from None
    if not halves:
        raise malformed
    return document, halves_warning(halves)


def _no_number(constant: str) -> NoReturn:
    """Refuse the NaN and Infinity that Python's parser would accept."""
    raise ValueError(constant)


def _check_plain(document: Any, *, at_once: bool) -> None:
    """Refuse values outside `embeddings` that JSON cannot carry, or that are nested too deep.

    MessagePack can carry more than JSON, and messages may have unknown keys. The request's digest covers all of it, so
    it must be representable in JSON.
    """
    try:
        for some in _some_entries(document, sys.maxsize if at_once else ENTRIES):
            orjson.dumps(some)
    except TypeError as error:
        raise InvalidRequest(
            f"The body has a value that JSON cannot carry: {error}.",
            limit="texts, 64-bit numbers, booleans, null, lists and objects, at most 250 deep",
            remedy="Send binary data only in the field `embeddings`.",
        ) from None


def _some_entries(document: Any, entries: int) -> Iterator[Any]:
    """A document in parts that are nested as deep as they are in it, without `embeddings`; of a list a few entries at a
    time, because writing one part keeps other threads waiting."""
    if not isinstance(document, dict):
        yield document
        return
    others = {}
    for name, value in document.items():
        if isinstance(value, list) and len(value) > entries:
            yield from (
                {name: value[at : at + entries]} for at in range(0, len(value), entries) if name != "embeddings"
            )
        elif name != "embeddings":
            others[name] = value
    yield others


def _check_items(document: Mapping[str, Any], columns: Sequence[str], settings: Settings) -> None:
    """Refuse a request with too many items before it costs time to look at each."""
    if "completions" not in columns and "query" not in columns:
        return
    n = max((len(column) for column in document.values() if isinstance(column, list)), default=0)
    if n > settings.max_items:
        raise TooLarge(
            "The request has too many items.",
            value=n,
            limit=settings.max_items,
            remedy="Send it in several requests, or raise MEMR_MAX_ITEMS on the server.",
        )


def check_texts(body: BaseModel, settings: Settings) -> None:
    """Refuse a body with a text that is too long.

    Raises:
        TooLarge: there is one.
    """
    for name in COLUMNS.get(type(body), ()):
        given = getattr(body, name)
        whole = name in ("prompt", "completion", "prompt_id")
        texts = [given] if whole else given or []
        lengths = [*map(len if are_strings(texts) else _characters, texts)]
        if (most := max(lengths, default=0)) > settings.max_text_chars:
            raise TooLarge(
                f"{name if whole else f'{name}[{lengths.index(most)}]'} has too many characters.",
                value=most,
                limit=settings.max_text_chars,
                remedy="Shorten the text, or raise MEMR_MAX_TEXT_CHARS on the server.",
            )


def _characters(given: Any) -> int:
    """Characters of a text, of a chat, or of the texts in a label; 0 of what has none."""
    if isinstance(given, str):
        return len(given)
    if isinstance(given, Message):
        return len(given.text) + len(given.reasoning) + len(given.calls)
    if isinstance(given, dict):
        given = given.values()
    return sum(map(_characters, given)) if isinstance(given, Iterable) else 0


def _too_many_bytes(limit: int) -> TooLarge:
    return TooLarge(
        "The body has too many bytes.",
        value=f"more than {limit}",
        limit=limit,
        remedy="Send it in several requests, or raise MEMR_MAX_BODY_BYTES on the server.",
    )


def _malformed(what: str) -> MalformedBody:
    return MalformedBody(
        f"The body is not {what}.",
        limit=what,
        remedy="Check that Content-Type and Content-Encoding describe the body.",
    )
