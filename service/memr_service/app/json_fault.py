"""What is wrong with a body that is not JSON, and what to do about the usual mistakes."""

from __future__ import annotations

import re

import orjson
from memr_client.errors import MalformedBody

NO_NUMBERS = {"nan", "inf", "infinity"}
"""What other languages write for numbers that JSON does not have, in any case."""
PYTHON = {"None": "null", "True": "true", "False": "false"}
"""Python's constants, and JSON's."""
GZIP = b"\x1f\x8b"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
DUMPS = "In Python, json.dumps does."


def describe(raw: bytes | bytearray, error: orjson.JSONDecodeError) -> MalformedBody:
    """The error for a body. It shows a word of the body at most: the rest may be private.

    Args:
        raw: the body.
        error: what the parser says about it.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as wrong:
        return _no_utf8(raw, wrong)
    if text.startswith("\ufeff"):
        return _malformed("it begins with a byte order mark", "Leave it out: encode as utf-8, not as utf-8-sig.")
    at = error.pos
    here = text[at : at + 1]
    word = "" if "unexpected end" in error.msg else _word(text, at)
    place = f"{error.msg} at character {at}"
    if word.lstrip("-").lower() in NO_NUMBERS:
        remedy = f"JSON has no {word}. Leave out completions that have no outcome, and write null for a missing answer."
        return _malformed(f"{word} at character {at}", remedy, word)
    if word in PYTHON:
        return _malformed(f"{word} at character {at}", f"Write {PYTHON[word]}, not {word}. {DUMPS}", word)
    if here == "'":
        return _malformed(
            f"a single quote at character {at}", f'Put names and texts in double quotes ("). {DUMPS}', here
        )
    if "string key" in error.msg and word:
        return _malformed(f"the name {word} has no quotes, at character {at}", f'Write "{word}". {DUMPS}', word)
    remedies = {
        "trailing comma": "Remove the last comma.",
        "unexpected end": "The body ends too early: send all of it.",
        "after document": "Send one object in a request.",
        "control character": r"Write line breaks and tabs in texts as \n and \t." + f" {DUMPS}",
    }
    return _malformed(place, next((remedy for part, remedy in remedies.items() if part in error.msg), None))


def _no_utf8(raw: bytes | bytearray, wrong: UnicodeDecodeError) -> MalformedBody:
    byte = f"0x{raw[wrong.start]:02x}"
    if raw.startswith(GZIP):
        return _malformed("it is gzip", "Send the header Content-Encoding: gzip.")
    remedy = "Encode the body as UTF-8."
    if raw.startswith(UTF_16):
        remedy = "It seems to be UTF-16: encode it as UTF-8."
    elif raw[0] & 0xF0 == 0x80 or raw[0] in (0xDE, 0xDF):
        remedy = "It seems to be MessagePack: send the header Content-Type: application/msgpack."
    return _malformed(f"it is not UTF-8, byte {byte} at position {wrong.start}", remedy, byte)


def _word(text: str, at: int) -> str:
    """The word at a place, or around it: the parser may have read its beginning. Up to 40 characters of it."""
    while at > 0 and (text[at - 1].isalpha() or text[at - 1] == "-"):
        at -= 1
    found = re.match(r"-?[A-Za-z_]\w{0,39}", text[at : at + 41])
    return found[0] if found else ""


def _malformed(why: str, remedy: str | None, value: str | None = None) -> MalformedBody:
    return MalformedBody(
        f"The body is not JSON: {why}.",
        value=value,
        limit="JSON",
        remedy=remedy or "Check that Content-Type and Content-Encoding describe the body.",
    )
