"""L1 of the law in plain Python: which text of a prompt and of a completion is encoded (see `paper.py`)."""

from __future__ import annotations

from typing import Any

Text = str | list[dict[str, Any]]


def content(message: dict[str, Any]) -> str:
    """The text of one chat message."""
    # L1 "Content given as parts: text parts joined."
    if isinstance(message["content"], list):
        return "".join(part["text"] for part in message["content"] if part["type"] == "text")
    return str(message["content"])


def prompt_text(prompt: Text) -> str:
    """What is encoded of a prompt."""
    if isinstance(prompt, str):
        return prompt
    # L1 "What is encoded of a chat prompt is the content of its last user message (none: 422)."
    asked = [content(message) for message in prompt if message["role"] == "user"]
    if not asked:
        raise ValueError("a chat prompt needs a user message")
    return asked[-1]


def completion_text(completion: Text, tags: tuple[str, str] | None = None) -> str:
    """What is encoded of a completion."""
    # L1 "a list of messages (its assistant contents joined by a newline)"
    if isinstance(completion, list):
        completion = "\n".join(content(message) for message in completion if message["role"] == "assistant")
    if tags is None:
        return completion
    # L1 "With reasoning_tags=[open, close] only the tagged text ... is encoded; ... no tag: the whole text."
    opening, closing = tags
    if opening not in completion and closing not in completion:
        return completion.strip()
    inside = []
    # L1 "close without open: from the start (R1-style templates prefill the open tag)"
    start = completion.split(opening)[0]
    if closing in start:
        inside.append(start.split(closing)[0])
    # L1 "several pairs joined by a newline; ... open without close: to the end"
    while opening in completion:
        _, _, completion = completion.partition(opening)
        piece, _, completion = completion.partition(closing)
        inside.append(piece)
    # L1 "Stripped."
    return "\n".join(inside).strip()
