"""From the wire to a batch: which text of a prompt and completion counts (L1), who is who (L3), embeddings (L2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
from memr_client.errors import InvalidRequest
from memr_client.schemas import Message, RewardRequest, RunConfig

from memr_service.rewards.guards import foreign_stretches

Text = str | list[Message]


def prompt_text(prompt: Text, item: int = 0) -> str:
    """The text of a prompt that is encoded: the string, or the content of the last `user` message.

    Raises:
        InvalidRequest: the messages hold none from the user.
    """
    if isinstance(prompt, str):
        return prompt
    for message in reversed(prompt):
        if message.role == "user":
            return message.text
    raise InvalidRequest(
        f"prompts[{item}] has no message with role 'user'.",
        value=[message.role for message in prompt],
        limit="at least one 'user' message",
        remedy="Send the question as a user message, or the prompt as a string.",
    )


def completion_text(completion: Text, tags: tuple[str, str] | None = None, *, official: bool = False) -> str:
    """The text of a completion that is encoded: all of it, or what stands between the reasoning tags."""
    if not isinstance(completion, str):
        completion = "\n".join(message.text for message in completion if message.role == "assistant")
    if tags is None:
        return completion
    return _last_reasoning(completion, *tags) if official else _reasoning(completion, *tags)


def _reasoning(text: str, opening: str, closing: str) -> str:
    """Every tagged part, joined by newlines; a close tag alone counts from the start, an open tag alone to the end."""
    first_open, first_close = text.find(opening), text.find(closing)
    if first_open < 0 and first_close < 0:
        return text.strip()
    parts = []
    if first_close >= 0 and (first_open < 0 or first_close < first_open):
        parts.append(text[:first_close])
        text = text[first_close + len(closing) :]
    while (start := text.find(opening)) >= 0:
        inside, _, text = text[start + len(opening) :].partition(closing)
        parts.append(inside)
    return "\n".join(parts).strip()


def _last_reasoning(text: str, opening: str, closing: str) -> str:
    """What stands between the last open tag and the next close tag, as the released code extracts it."""
    return text.split(opening)[-1].split(closing)[0].strip()


def identity(prompt: Text, prompt_id: str | None) -> bytes:
    """16 bytes that are equal for equal prompts: of the id where one is sent, else of the whole prompt."""
    if prompt_id is not None:
        named = b"id\0" + prompt_id.encode()
    elif isinstance(prompt, str):
        named = b"text\0" + prompt.encode()
    else:
        messages = [message.model_dump() for message in prompt]
        named = b"chat\0" + orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(named, digest_size=16).digest()


def identities(request: RewardRequest) -> list[bytes]:
    """Identity of each item's prompt (n).

    Raises:
        InvalidRequest: a prompt has no text to encode (whether or not it is going to be encoded).
    """
    for item, prompt in enumerate(request.prompts):
        prompt_text(prompt, item)
    if request.prompt_ids is not None:
        return [identity(prompt, name) for prompt, name in zip(request.prompts, request.prompt_ids, strict=True)]
    known = {prompt: identity(prompt, None) for prompt in {one for one in request.prompts if isinstance(one, str)}}
    return [known[prompt] if isinstance(prompt, str) else identity(prompt, None) for prompt in request.prompts]


def groups(request: RewardRequest, keys: list[bytes]) -> tuple[np.ndarray, list[bytes]]:
    """Number of each item's group (n,), from 0 in order of appearance, and the groups' ids (prompts' by default)."""
    ids = [b"id " + name.encode() for name in request.group_ids] if request.group_ids is not None else keys
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in ids], "<i4"), list(numbers)


def completion_texts(request: RewardRequest, config: RunConfig) -> list[str]:
    """The text of each completion that is encoded."""
    official = config.order == "official"
    return [completion_text(one, config.reasoning_tags, official=official) for one in request.completions]


def foreign(prompts: Sequence[Text], completions: Sequence[Text], group: np.ndarray) -> np.ndarray:
    """The longest stretch of each whole completion, in bytes, that prompt and siblings know nothing of (n,)."""
    texts = [completion_text(one) for one in completions]
    return foreign_stretches(texts, [prompt_text(one) for one in prompts], group)


def prompt_texts(request: RewardRequest) -> list[str]:
    """The text of each prompt that is encoded."""
    return [prompt_text(prompt, item) for item, prompt in enumerate(request.prompts)]


def unit_rows(sent: np.ndarray, name: str, items: np.ndarray | None = None) -> np.ndarray:
    """Embeddings as sent (n, d) -> float32 rows of unit length (L2), those of the given `items` (None: all).

    Raises:
        InvalidRequest: a row is zero or not finite.
    """
    # The order of summation follows the layout.
    matrix = np.array(sent if items is None else sent[items], np.float64, order="C")
    with np.errstate(over="ignore"):
        norms = np.sqrt((matrix * matrix).sum(axis=1))
    if len(norms) and not 0 < norms.min() <= norms.max() < np.inf:  # NaN is in neither order with anything
        wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
        item = wrong[0] if items is None else items[wrong[0]]
        raise InvalidRequest(
            f"embeddings.{name}[{item}] is zero or not finite.",
            value=str(norms[wrong[0]]),
            limit="finite rows that are not zero",
            remedy="A text always has an embedding: check the encoder that made it.",
        )
    matrix /= norms[:, None]
    return matrix.astype(np.float32)


def rounded(vectors: np.ndarray, storage: str) -> np.ndarray:
    """float32 vectors as the run stores them: rounded to float16 first where it stores that."""
    return vectors.astype(np.float16).astype(np.float32) if storage == "float16" else vectors


def matrix(raw: Any, name: str, n: int) -> np.ndarray:
    """Embeddings off the wire as an array (n, d).

    Args:
        raw: nested lists, an array, or little-endian float32 bytes in row-major order.
        name: "prompts" or "completions", for the message.

    Raises:
        InvalidRequest: not numbers, or not n rows of one length.
    """

    def refuse(what: str, value: Any) -> InvalidRequest:
        return InvalidRequest(
            f"embeddings.{name} {what}.",
            value=value,
            limit=f"{n} rows of d numbers, or n * d * 4 bytes of little-endian float32",
            remedy="Send one row for each item, all of the same dimension.",
        )

    if isinstance(raw, bytes | bytearray | memoryview):
        if len(raw) == 0 or n == 0 or len(raw) % (4 * n):
            raise refuse(f"is {len(raw)} bytes, which is not {n} rows of float32", len(raw))
        return np.frombuffer(raw, "<f4").reshape(n, -1)
    try:
        sent = np.asarray(raw)
    except (ValueError, TypeError) as error:
        raise refuse("does not have rows of one length", None) from error
    if sent.ndim != 2 or sent.shape[0] != n or sent.shape[1] == 0:
        raise refuse(f"has shape {list(sent.shape)}", list(sent.shape))
    if sent.dtype.kind not in "fiu":
        raise refuse("holds something that is not a number", None)
    return sent


def rows_of(prompt_of: list[int], n: int) -> list[int]:
    """`embeddings.prompt_of`, which names a row for each of n items.

    Raises:
        InvalidRequest: it does not, or names more rows than there are items.
    """
    if len(prompt_of) != n:
        raise InvalidRequest(
            f"embeddings.prompt_of has {len(prompt_of)} numbers for {n} items.",
            value=len(prompt_of),
            limit=n,
            remedy="Name for each item the row of embeddings.prompts that it has, or leave it out and send n rows.",
        )
    if (most := max(prompt_of)) >= n:
        raise InvalidRequest(
            f"embeddings.prompt_of names row {most}; {n} items have at most as many rows, counted from 0.",
            value=most,
            limit=n - 1,
            remedy="Send each embedding once, in the order in which items first have it.",
        )
    return prompt_of


def distinct_rows(
    vectors: np.ndarray, keys: list[bytes], row_of: list[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (prompt, embedding) pairs: the items where each comes first (u,), and which of them is each item's (n,).

    Args:
        vectors: embedding of each item's prompt (n, d). keys: its identity (n).
        row_of: row of `vectors` that each item has (n); None: its own.
    """
    rows: Iterable[bytes] = map(np.ndarray.tobytes, vectors)
    if row_of is not None:
        once = [*rows]
        rows = (once[row] for row in row_of)
    places: dict[tuple[bytes, bytes], int] = {}
    first: list[int] = []
    of: list[int] = []
    before = None
    for item, pair in enumerate(zip(keys, rows, strict=True)):
        if pair != before:  # the items of a group mostly follow each other, and to compare costs less than to hash
            before, place = pair, places.setdefault(pair, len(first))
            if place == len(first):
                first.append(item)
        of.append(place)
    return np.array(first, np.int64), np.array(of, "<i4")


def body_digest(request: RewardRequest, embeddings: Sequence[np.ndarray]) -> bytes:
    """SHA-256 over what a request says, whichever encoding carried it; its id and run's name do not count.

    Args:
        embeddings: arrays that hold all that was sent of them.
    """
    said = {name: value for name, value in request if name not in ("run_id", "request_id", "embeddings")}
    digest = hashlib.sha256(orjson.dumps(said, default=Message.model_dump, option=orjson.OPT_SORT_KEYS))
    with np.errstate(over="ignore"):
        for sent in embeddings:
            digest.update(str(sent.shape).encode())
            digest.update(np.ascontiguousarray(sent, "<f4").data)
    return digest.digest()
