"""A request read once: its texts (L1), the identities and groups of its prompts (L3), its embeddings (L2)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson
from memr_client.errors import InvalidRequest
from memr_client.schemas import Message, RewardRequest, RunConfig, are_strings

from memr_service.engine.sent_embeddings import SentEmbeddings, sent_embeddings
from memr_service.engine.text_thread import are_light
from memr_service.state.law import LAW
from memr_service.state.pass_rates import TEXT_BYTES

Text = str | list[Message]

ENTRIES = 16
"""Entries of a list that are written as JSON at a time: texts may be long."""
MOST_NAMED = 5
"""Items that one warning names."""


@dataclass(frozen=True, eq=False)
class Items:
    """One request with everything that is read from its n items, and its time limits.

    `prompts` (n): the text of each prompt that is encoded. `keys` (n): the identity of each item's prompt. `group`
    (n,): the number of each item's group, from 0 in order of appearance. `group_names`: the groups' ids, by number.
    `sent`: the embeddings, if the request carries them.
    """

    request: RewardRequest
    prompts: list[str]
    keys: list[bytes]
    group: np.ndarray
    group_names: list[bytes]
    sent: SentEmbeddings | None
    light: bool
    """Whether the texts may be hashed and measured on the event loop."""
    started: float
    """`time.perf_counter()` when the request arrived."""
    deadline: float | None
    """`time.monotonic()` by which encoding, or scoring of sent embeddings, must have begun."""
    warnings: Sequence[str] = ()
    """What the caller should know about the body that the request was read from."""

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of everything the request says, whichever encoding carried it, but its id and its run's name.

        Raises:
            InvalidRequest: a text is not valid Unicode.
        """
        try:
            return body_digest(self.request, () if self.sent is None else self.sent.raw, at_once=self.light)
        except orjson.JSONEncodeError:
            raise _lone_surrogate() from None

    @cached_property
    def texts(self) -> np.ndarray:
        """SHA-256 of the whole text of each item's prompt (n, 32).

        Raises:
            InvalidRequest: a text is not valid Unicode.
        """
        try:
            return text_digests(self.request.prompts)
        except (UnicodeEncodeError, orjson.JSONEncodeError):
            raise _lone_surrogate() from None

    def completions(self, config: RunConfig, law: int) -> list[str]:
        """The whole text of each completion under a run's config and law (n)."""
        completions = self.request.completions
        if are_strings(completions):
            return [*completions]
        return [whole_text(one, config.reasoning_tags, law) for one in completions]

    def unread(self, completions: list[str], law: int) -> list[str]:
        """Warnings of chats of which nothing is read under a run's law: prompts, and completions that say something.

        Args:
            completions: the whole text of each completion (n).
        """
        pairs = zip(self.request.completions, completions, strict=True)
        silent = [f"completions[{n}]" for n, (sent, text) in enumerate(pairs) if not text and _says_something(sent)]
        reads, remedy = "the assistant's content", "a new run also reads reasoning and tool calls"
        if law > 1:
            reads, remedy = "the assistant's content, reasoning and tool calls", "send the text as content"
        asked = zip(self.request.prompts, self.prompts, strict=True)
        unasked = [f"prompts[{n}]" for n, (sent, text) in enumerate(asked) if not text and not isinstance(sent, str)]
        of_prompts = "the content of a prompt's last user message counts; send the question as its content"
        return [
            f"Nothing was read of {_first(names)}, so an empty text was scored. Only {rule}."
            for names, rule in ((unasked, of_prompts), (silent, f"{reads} count; {remedy}"))
            if names
        ]


def read(
    request: RewardRequest,
    deadline: float | None = None,
    queued_s: float = 0.0,
    warnings: Sequence[str] = (),
    light: bool | None = None,
) -> Items:
    """Everything the service needs of a request, taken from it once.

    Args:
        deadline: `time.monotonic()` by which encoding, or scoring of sent embeddings, must have begun.
        queued_s: seconds the request has waited already.
        warnings: what the caller should know about the body that the request was read from.
        light: whether the texts may be hashed and measured on the event loop; None: find out.

    Raises:
        InvalidRequest: a prompt has no text, a text is not valid Unicode, or the embeddings are wrong.
    """
    started = time.perf_counter() - queued_s
    prompts = prompt_texts(request.prompts)
    try:
        keys = identities(request)
        group, group_names = groups(request, keys)
    except (UnicodeEncodeError, orjson.JSONEncodeError):
        raise _lone_surrogate() from None
    return Items(
        request=request,
        prompts=prompts,
        keys=keys,
        group=group,
        group_names=group_names,
        sent=sent_embeddings(request, keys),
        light=are_light(request.prompts, request.completions) if light is None else light,
        started=started,
        deadline=deadline,
        warnings=warnings,
    )


def check_spread(request: RewardRequest, config: RunConfig) -> None:
    """Refuse a request's `equal_spread` if the run's order or barrier does not know whole groups.

    Raises:
        InvalidRequest: they do not.
    """
    if request.equal_spread is not None and (config.order == "official" or config.barrier == "snapshot"):
        raise InvalidRequest(
            "equal_spread needs whole groups and an order that is not official.",
            value=request.equal_spread,
            limit={"order": config.order, "barrier": config.barrier},
            remedy="Leave it out, or create a run with another preset or barrier.",
        )


def check_groups(items: Items, config: RunConfig) -> None:
    """Refuse more completions of one prompt than make whole groups, if requests wait until their groups are whole.

    Raises:
        InvalidRequest: the last of them would wait for others that never come.
    """
    size = config.group_size
    if config.barrier != "group" or size is None or items.request.mode == "eval" or not items:
        return
    counts = np.bincount(items.group)
    odd = np.flatnonzero((counts > size) & (counts % size != 0))
    if odd.size:
        most = int(counts[odd[0]])
        raise InvalidRequest(
            f"{most} completions of one prompt, but group_size is {size}; a group has as many as the trainer samples "
            "for a prompt.",
            value=most,
            limit=size,
            remedy=f"Create the run with group_size={most}, or give each group an id of its own in group_ids.",
        )


# Texts (L1)


def prompt_texts(prompts: Sequence[Text]) -> list[str]:
    """The text of each prompt that is encoded (n).

    Raises:
        InvalidRequest: the messages of one hold none from the user.
    """
    if are_strings(prompts):
        return [*prompts]
    return [prompt_text(prompt, item) for item, prompt in enumerate(prompts)]


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


def whole_text(completion: Text, tags: tuple[str, str] | None = None, law: int = LAW) -> str:
    """The whole text of a completion: the string, or what the assistant's messages say, joined by newlines.

    Under law 1 a message says its content; from law 2 on its reasoning, its content and its tool calls. With reasoning
    tags, the reasoning stands between them, as if the policy had written them.
    """
    return completion if isinstance(completion, str) else "\n".join(_spoken(completion, tags, law))


def turn_texts(completion: Text, tags: tuple[str, str] | None = None, law: int = LAW) -> list[str]:
    """The whole text of each turn of a completion: the string, or what each of the assistant's messages says. Messages
    that say nothing are no turns; a completion without any has one empty turn."""
    if isinstance(completion, str):
        return [completion]
    return [said for said in _spoken(completion, tags, law) if said] or [""]


def _spoken(completion: list[Message], tags: tuple[str, str] | None, law: int) -> list[str]:
    spoken = [message for message in completion if message.role == "assistant"]
    return [message.text if law == 1 else _all_that_is_said(message, tags) for message in spoken]


def _all_that_is_said(message: Message, tags: tuple[str, str] | None) -> str:
    thoughts, text = message.reasoning, message.text
    if thoughts and tags is not None:
        opening, closing = tags
        text = opening + _reasoning(thoughts, opening, closing) + closing + text
    elif thoughts:
        text = f"{thoughts}\n{text}" if text else thoughts
    return "\n".join(said for said in (text, message.calls) if said)


def completion_text(
    completion: Text, tags: tuple[str, str] | None = None, *, official: bool = False, law: int = LAW
) -> str:
    """The text of a completion that is encoded: all of it, or the text between the reasoning tags."""
    whole = whole_text(completion, tags, law)
    return whole if tags is None else read_between(whole, tags, official=official)


def read_between(whole: str, tags: tuple[str, str], *, official: bool = False) -> str:
    """The part of a completion's whole text that stands between the reasoning tags; all of it if there are no tags."""
    return _last_reasoning(whole, *tags) if official else _reasoning(whole, *tags)


def _reasoning(text: str, opening: str, closing: str) -> str:
    """Every tagged part, joined by newlines; a close tag alone counts from the start, an open tag alone to the end."""
    first_open, first_close = text.find(opening), text.find(closing)
    if first_open < 0 and first_close < 0:
        return text.strip()
    parts, place = [], 0
    if first_close >= 0 and (first_open < 0 or first_close < first_open):
        parts.append(text[:first_close])
        place = first_close + len(closing)
    while (start := text.find(opening, place)) >= 0:
        begin = start + len(opening)
        end = text.find(closing, begin)
        end = len(text) if end < 0 else end
        parts.append(text[begin:end])
        place = end + len(closing)
    return "\n".join(parts).strip()


def _last_reasoning(text: str, opening: str, closing: str) -> str:
    """The text between the last open tag and the next close tag, as the released code extracts it."""
    return text.split(opening)[-1].split(closing)[0].strip()


def _first(names: list[str]) -> str:
    """The names of items, of many the first."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _says_something(completion: Text) -> bool:
    """Whether a completion of messages has more than an empty text of the assistant."""
    return not isinstance(completion, str) and any(
        message.role != "assistant" or message.content or any((message.model_extra or {}).values())
        for message in completion
    )


# Identities and groups (L3)


def identity(prompt: Text, prompt_id: str | None) -> bytes:
    """16 bytes that are equal for equal prompts: of the id where one is sent, else of the whole prompt."""
    named = _whole_prompt(prompt) if prompt_id is None else b"id\0" + prompt_id.encode()
    return hashlib.blake2b(named, digest_size=16).digest()


def turn_key(key: bytes, place: int) -> bytes:
    """16 bytes under which the turns in a place (from 0) are stored that are not their completions' last, of a prompt
    with this identity."""
    return hashlib.blake2b(b"turn\0" + place.to_bytes(8, "big") + key, digest_size=16).digest()


def key_of_id(name: str) -> bytes:
    """The identity of a prompt with this id.

    Raises:
        InvalidRequest: the id holds half a surrogate pair.
    """
    try:
        return identity("", name)
    except UnicodeEncodeError:
        raise InvalidRequest(
            "A prompt id holds a lone surrogate, which no encoding can carry.", limit="valid Unicode"
        ) from None


def _whole_prompt(prompt: Text) -> bytes:
    if isinstance(prompt, str):
        return b"text\0" + prompt.encode()
    messages = [message.model_dump() for message in prompt]
    return b"chat\0" + orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)


def text_digests(prompts: Sequence[Text]) -> np.ndarray:
    """SHA-256 of each prompt's whole text (n, 32), by which runs know the same prompt; zeros if it is empty."""
    try:
        known = {one: _text_digest(one) for one in dict.fromkeys(prompts)}
        digests = [*map(known.__getitem__, prompts)]
    except TypeError:  # lists of messages have no hash
        digests = [_text_digest(one) for one in prompts]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, TEXT_BYTES)


def _text_digest(prompt: Text) -> bytes:
    return hashlib.sha256(_whole_prompt(prompt)).digest() if prompt else bytes(TEXT_BYTES)


def identities(request: RewardRequest) -> list[bytes]:
    """Identity of each item's prompt (n)."""
    prompts, names = request.prompts, request.prompt_ids
    if names is not None:
        known = {name: identity("", name) for name in {*names}}
        return [*map(known.__getitem__, names)]
    if are_strings(prompts):
        known = {prompt: identity(prompt, None) for prompt in {*prompts}}
        return [*map(known.__getitem__, prompts)]
    return [identity(prompt, None) for prompt in prompts]


def groups(request: RewardRequest, keys: list[bytes]) -> tuple[np.ndarray, list[bytes]]:
    """Number of each item's group (n,), from 0 in order of appearance, and the groups' ids (prompts' by default)."""
    ids = [b"id " + name.encode() for name in request.group_ids] if request.group_ids is not None else keys
    numbers = {name: number for number, name in enumerate(dict.fromkeys(ids))}
    return np.fromiter(map(numbers.__getitem__, ids), "<i4", len(ids)), [*numbers]


# The digest of a body (L12)


def body_digest(request: RewardRequest, embeddings: tuple[np.ndarray, ...], *, at_once: bool = False) -> bytes:
    """SHA-256 of everything a request says, whichever encoding carried it, but its id and its run's name.

    Args:
        embeddings: arrays that hold everything that was sent of them.
        at_once: write each list in one go, because the texts are few and short.
    """
    said = {name: value for name, value in request if name not in ("run_id", "request_id", "embeddings")}
    for name in ("equal_spread", "references"):  # bodies without them keep the digest that they had before
        if said[name] is None:
            del said[name]
    digest = hashlib.sha256()
    for piece in [_as_json(said)] if at_once else json_pieces(said):
        digest.update(piece)
    with np.errstate(over="ignore"):
        for sent in embeddings:
            digest.update(str(sent.shape).encode())
            digest.update(np.ascontiguousarray(sent, "<f4").data)
    return digest.digest()


def json_pieces(fields: Mapping[str, Any], entries: int = ENTRIES) -> Iterator[bytes]:
    """An object's JSON, with sorted names, in pieces: writing one keeps other threads waiting.

    >>> b"".join(json_pieces({"b": [1, 2], "a": {"y": 0, "x": None}}))
    b'{"a":{"x":null,"y":0},"b":[1,2]}'
    """
    write, before = _as_json, b"{"
    for name in sorted(fields):
        yield before + write(name) + b":"
        value, before = fields[name], b","
        if isinstance(value, list) and len(value) > entries:
            for at in range(0, len(value), entries):
                yield (b"," if at else b"[") + write(value[at : at + entries])[1:-1]
            yield b"]"
        else:
            yield write(value)
    yield b"}" if fields else b"{}"


def _as_json(value: Any) -> bytes:
    return orjson.dumps(value, default=Message.model_dump, option=orjson.OPT_SORT_KEYS)


def _lone_surrogate() -> InvalidRequest:
    return InvalidRequest(
        "A text holds a lone surrogate, which no encoding can carry.",
        limit="valid Unicode",
        remedy="Decode the text with errors='replace' before sending it.",
    )
