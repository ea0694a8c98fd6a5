"""Request bodies: counted as they arrive, unpacked, parsed and checked. Nothing here changes anything.

A body is JSON (also where no type is given) or MessagePack, plain or gzip; no bytes are an empty object. Whatever is
wrong with it is raised as a problem: a type or encoding the server does not read 415, more than it takes 413, bytes
that are no body at all or a wrong field 422.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgpack
import orjson
from memr_client.errors import InvalidRequest, MalformedBody, TooLarge, UnsupportedMedia
from memr_client.schemas import Message, OpenRLHFRequest, RewardRequest
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from memr_service.app.problems import invalid
from memr_service.settings import Settings

BIG = 1 << 20
"""Bodies of more bytes than this are parsed in a thread, so that the others need not wait for it."""

Model = TypeVar("Model", bound=BaseModel)


async def parse(request: Request, model: type[Model], settings: Settings) -> Model:
    """Read the request's body as a `model`; as it came it is kept in the request's state.

    Raises:
        MalformedBody, UnsupportedMedia, TooLarge, InvalidRequest.
    """
    media, packed = _media(request), _packed(request)
    raw = request.state.body = await _read(request, settings.max_body_bytes)
    if packed or len(raw) > BIG:
        return await asyncio.to_thread(decode, raw, media, packed, model, settings)
    return decode(raw, media, packed, model, settings)


def decode(raw: bytes, media: str, packed: bool, model: type[Model], settings: Settings) -> Model:
    """Bytes -> checked `model`: unpack, parse, validate, and hold to the limits of the settings.

    Args:
        media: `application/json` or `application/msgpack`.
        packed: whether `raw` is gzip.
    """
    if packed:
        raw = _unpack(raw, settings.max_body_bytes)
    document = _from_json(raw or b"{}") if media == "application/json" else _from_msgpack(raw)
    _check_plain(document)
    try:
        body = model.model_validate(document)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)) from None
    if isinstance(body, RewardRequest):
        _check_size({"prompts": body.prompts, "completions": body.completions}, settings)
    elif isinstance(body, OpenRLHFRequest):
        _check_size({"query": body.query, "prompts": body.prompts}, settings)
    return body


def require_media(request: Request, *accepted: str) -> str:
    """The request's content type, if it is one of those accepted; `UnsupportedMedia` otherwise."""
    media = request.headers.get("content-type", accepted[0]).partition(";")[0].strip().lower()
    if media not in accepted:
        raise UnsupportedMedia(
            "This route does not read bodies of that content type.",
            value=media[:80],
            limit=list(accepted),
            remedy=f"Send the header Content-Type: {accepted[0]}.",
        )
    return media


def _media(request: Request) -> str:
    return require_media(request, "application/json", "application/msgpack")


def _packed(request: Request) -> bool:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise UnsupportedMedia(
            "The server does not read bodies of that encoding.",
            value=encoding[:80],
            limit=["identity", "gzip"],
            remedy="Send the body plain or as gzip.",
        )
    return encoding == "gzip"


async def _read(request: Request, limit: int) -> bytes:
    """The body as it was sent. Bytes are counted as they arrive, whatever Content-Length says."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_many_bytes(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _unpack(raw: bytes, limit: int) -> bytes:
    """gzip -> bytes. One byte more than allowed and unpacking stops, so a bomb costs no more than an honest body."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        body = unpacker.decompress(raw, limit + 1)
    except zlib.error:
        raise _malformed("gzip") from None
    if len(body) > limit:
        raise _too_many_bytes(limit)
    if not unpacker.eof or unpacker.unused_data:
        raise _malformed("a single, complete gzip member")
    return body


def _from_json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        # The error's own words, but not its `doc`, which is the body.
        raise _malformed("JSON", f"{error.msg} at character {error.pos}") from None


def _from_msgpack(raw: bytes) -> Any:
    try:
        return msgpack.unpackb(raw)
    except (ValueError, TypeError, msgpack.UnpackException):
        raise _malformed("MessagePack") from None


def _check_plain(document: Any) -> None:
    """Refuse what JSON cannot carry (MessagePack can) or what is nested too deep, but for embeddings.

    Messages keep keys that no schema knows, and every part of a request takes part in its digest.
    """
    fields = document
    if isinstance(document, dict):
        fields = {name: value for name, value in document.items() if name != "embeddings"}
    try:
        orjson.dumps(fields)
    except TypeError as error:
        raise InvalidRequest(
            f"The body holds a value that JSON could not carry: {error}.",
            limit="texts, numbers of 64 bits, booleans, null, lists and objects, at most 250 deep",
            remedy="Send embeddings in the field `embeddings`, and nothing else in binary.",
        ) from None


def _check_size(columns: Mapping[str, Sequence[str | list[Message]]], settings: Settings) -> None:
    if (n := len(columns["prompts"])) > settings.max_items:
        raise TooLarge(
            "The request has too many items.",
            value=n,
            limit=settings.max_items,
            remedy="Send it in several requests, or raise MEMR_MAX_ITEMS on the server.",
        )
    for name, column in columns.items():
        lengths = [len(text) if isinstance(text, str) else sum(len(one.text) for one in text) for text in column]
        if (most := max(lengths, default=0)) > settings.max_text_chars:
            raise TooLarge(
                f"{name}[{lengths.index(most)}] has too many characters.",
                value=most,
                limit=settings.max_text_chars,
                remedy="Cut the text, or raise MEMR_MAX_TEXT_CHARS on the server.",
            )


def _too_many_bytes(limit: int) -> TooLarge:
    return TooLarge(
        "The body has too many bytes.",
        value=f"more than {limit}",
        limit=limit,
        remedy="Send it in several requests, or raise MEMR_MAX_BODY_BYTES on the server.",
    )


def _malformed(what: str, why: str | None = None) -> MalformedBody:
    return MalformedBody(
        f"The body is not {what}" + (f": {why}." if why else "."),
        limit=what,
        remedy="Check Content-Type and Content-Encoding against what is sent.",
    )
