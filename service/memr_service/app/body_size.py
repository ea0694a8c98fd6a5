"""How much a body may hold, counted before and while it is parsed, because a small body can become much memory.

An empty list is two bytes of JSON and 64 bytes of memory, and as a chat message, checked, more than a thousand. So what
a body holds is limited by kind: lists and objects, texts, and all values. A body of `max_items` chats with embeddings
is far below each limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
from memr_client.errors import TooLarge

MOST_CONTAINERS = 1 << 18
"""Lists and objects in a body: 16 for each of 16,384 items."""
MOST_TEXTS = 1 << 20
"""Texts in a body, names of fields included: 64 for each of 16,384 items."""
MOST_VALUES = 1 << 24
"""Values in a body, numbers included: 1,024 for each of 16,384 items."""
PIECE = 1 << 18
"""Bytes that are counted at a time. Other threads have a turn after each."""
LONGEST = 1 << 18
"""Entries of one list or object in MessagePack. It makes room for a list before it reads its entries."""


def check_json(raw: bytes | bytearray) -> None:
    """Count what a JSON body holds, without parsing it.

    Raises:
        TooLarge: it holds more than a limit.
    """
    if len(raw) <= MOST_CONTAINERS:
        return  # everything takes a byte
    spans = [(at, at + PIECE) for at in range(0, len(raw), PIECE)]
    containers, quotes, commas = (
        sum(raw.count(one, *span) for span in spans for one in marks) for marks in (b"[{", b'"', b",")
    )
    if containers <= MOST_CONTAINERS and quotes <= 2 * MOST_TEXTS and commas <= MOST_VALUES:
        return
    containers = quotes = commas = 0
    for plain, marks in _outside_texts(raw):
        quotes, containers, commas = (
            quotes + marks,
            containers + plain.count(b"[") + plain.count(b"{"),
            commas + plain.count(b","),
        )
        _check("texts", quotes // 2, MOST_TEXTS)
        _check("lists and objects", containers, MOST_CONTAINERS)
        _check("values", commas, MOST_VALUES)


def _outside_texts(raw: bytes | bytearray) -> Iterator[tuple[bytes, int]]:
    """What is outside of texts, where alone brackets and commas mean something, and how many quotes there are; a piece
    at a time."""
    at, within = 0, False
    while at < len(raw):
        piece = bytes(raw[at : at + PIECE])
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2 and len(piece) > 1:
            piece = piece[:-1]  # what follows belongs to this backslash
        at += len(piece)
        parts = piece.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        yield b"".join(parts[within::2]), len(parts) - 1
        within ^= len(parts) % 2 == 0


def unpack(raw: bytes | bytearray, **options: Any) -> Any:
    """A MessagePack body, counted while it is parsed.

    Raises:
        TooLarge: it holds more than a limit. ValueError, TypeError, msgpack.UnpackException: it is not MessagePack.
    """
    if len(raw) <= MOST_CONTAINERS:
        return msgpack.unpackb(raw, **options)  # everything takes a byte
    containers = texts = values = 0

    def count(entries: list[Any]) -> None:
        nonlocal containers, texts, values
        containers, values = containers + 1, values + len(entries)
        texts += [*map(type, entries)].count(str)
        _check("lists and objects", containers, MOST_CONTAINERS)
        _check("texts", texts, MOST_TEXTS)
        _check("values", values, MOST_VALUES)

    def as_list(entries: list[Any]) -> list[Any]:
        count(entries)
        return entries

    def as_object(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        count([part for pair in pairs for part in pair])
        return dict(pairs)

    options |= {"max_array_len": LONGEST, "max_map_len": LONGEST}
    try:
        return msgpack.unpackb(raw, list_hook=as_list, object_pairs_hook=as_object, **options)
    except ValueError as error:
        if "max_array_len" in str(error) or "max_map_len" in str(error):
            _check("entries in one list", LONGEST + 1, LONGEST)
        raise


def _check(what: str, found: int, most: int) -> None:
    if found > most:
        raise TooLarge(
            f"The body holds too many {what}.",
            value=f"more than {most}",
            limit=most,
            remedy="Send it in several requests.",
        )
