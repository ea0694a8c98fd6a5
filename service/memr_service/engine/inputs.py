"""A request read once: its texts (L1), the identities and groups of its prompts (L3), its embeddings (L2)."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import orjson
from memr_client.errors import InvalidRequest
from memr_client.schemas import Message, RewardRequest, RunConfig

from memr_service.engine.sent_embeddings import SentEmbeddings, sent_embeddings

Text = str | list[Message]


@dataclass(frozen=True, eq=False)
class Items:
    """One request with everything that is read from its n items, and its time limits.

    `prompts` (n): the text of each prompt that is encoded. `completions` (n): the whole text of each completion.
    `keys` (n): the identity of each item's prompt. `group` (n,): the number of each item's group, from 0 in order of
    appearance. `group_names`: the groups' ids, by number. `sent`: the embeddings, if the request carries them.
    """

    request: RewardRequest
    prompts: list[str]
    completions: list[str]
    keys: list[bytes]
    group: np.ndarray
    group_names: list[bytes]
    sent: SentEmbeddings | None
    started: float
    """`time.perf_counter()` when the request arrived."""
    deadline: float | None
    """`time.monotonic()` by which encoding, or scoring of sent embeddings, must have begun."""

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of everything the request says, whichever encoding carried it, but its id and its run's name.

        Raises:
            InvalidRequest: a text is not valid Unicode.
        """
        try:
            return body_digest(self.request, () if self.sent is None else self.sent.raw)
        except orjson.JSONEncodeError:
            raise _lone_surrogate() from None

    def encoded_completions(self, config: RunConfig) -> list[str]:
        """The text of each completion that is encoded under a run's config (n)."""
        if config.reasoning_tags is None:
            return self.completions
        official = config.order == "official"
        return [completion_text(one, config.reasoning_tags, official=official) for one in self.completions]


def read(request: RewardRequest, deadline: float | None = None, queued_s: float = 0.0) -> Items:
    """Everything the service needs of a request, taken from it once.

    Args:
        deadline: `time.monotonic()` by which encoding, or scoring of sent embeddings, must have begun.
        queued_s: seconds the request has waited already.

    Raises:
        InvalidRequest: a prompt has no text, a text is not valid Unicode, or the embeddings are wrong.
    """
    started = time.perf_counter() - queued_s
    prompts = [prompt_text(prompt, item) for item, prompt in enumerate(request.prompts)]
    try:
        keys = identities(request)
        group, group_names = groups(request, keys)
    except (UnicodeEncodeError, orjson.JSONEncodeError):
        raise _lone_surrogate() from None
    return Items(
        request=request,
        prompts=prompts,
        completions=[completion_text(completion) for completion in request.completions],
        keys=keys,
        group=group,
        group_names=group_names,
        sent=sent_embeddings(request, keys),
        started=started,
        deadline=deadline,
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


# Texts (L1)


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
    """The text of a completion that is encoded: all of it, or the text between the reasoning tags."""
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
    """The text between the last open tag and the next close tag, as the released code extracts it."""
    return text.split(opening)[-1].split(closing)[0].strip()


# Identities and groups (L3)


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
    """Identity of each item's prompt (n)."""
    if request.prompt_ids is not None:
        return [identity(prompt, name) for prompt, name in zip(request.prompts, request.prompt_ids, strict=True)]
    known = {prompt: identity(prompt, None) for prompt in {one for one in request.prompts if isinstance(one, str)}}
    return [known[prompt] if isinstance(prompt, str) else identity(prompt, None) for prompt in request.prompts]


def groups(request: RewardRequest, keys: list[bytes]) -> tuple[np.ndarray, list[bytes]]:
    """Number of each item's group (n,), from 0 in order of appearance, and the groups' ids (prompts' by default)."""
    ids = [b"id " + name.encode() for name in request.group_ids] if request.group_ids is not None else keys
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in ids], "<i4"), list(numbers)


# The digest of a body (L12)


def body_digest(request: RewardRequest, embeddings: tuple[np.ndarray, ...]) -> bytes:
    """SHA-256 of everything a request says, whichever encoding carried it, but its id and its run's name.

    Args:
        embeddings: arrays that hold everything that was sent of them.
    """
    said = {name: value for name, value in request if name not in ("run_id", "request_id", "embeddings")}
    if said["equal_spread"] is None:  # bodies without it keep the digest that they had before the field existed
        del said["equal_spread"]
    digest = hashlib.sha256(orjson.dumps(said, default=Message.model_dump, option=orjson.OPT_SORT_KEYS))
    with np.errstate(over="ignore"):
        for sent in embeddings:
            digest.update(str(sent.shape).encode())
            digest.update(np.ascontiguousarray(sent, "<f4").data)
    return digest.digest()


def _lone_surrogate() -> InvalidRequest:
    return InvalidRequest(
        "A text holds a lone surrogate, which no encoding can carry.",
        limit="valid Unicode",
        remedy="Decode the text with errors='replace' before sending it.",
    )
