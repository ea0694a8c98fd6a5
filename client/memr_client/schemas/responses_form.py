"""Items of OpenAI's Responses form as chat messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memr_client.schemas.wire import Message


def chat_of(items: Any, instructions: Any = None) -> list[Message]:
    """The messages of a conversation.

    What the policy writes between two messages of others is one message of the assistant: its reasoning, its texts and
    its tool calls. Outputs of tools are messages with the role `tool`. Items of other kinds say nothing.

    Args:
        items: a question, or items of a request's `input` or a response's `output`. What is neither says nothing.
        instructions: the system message, if it is a text.
    """
    messages: list[dict[str, Any]] = []
    if isinstance(instructions, str) and instructions:
        messages.append({"role": "system", "content": instructions})
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    turn: dict[str, Any] | None = None
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, dict):
            continue
        kind = str(item.get("type") or "message")
        if kind == "message" and item.get("role") != "assistant":
            turn = None
            messages.append({"role": str(item.get("role") or "user"), "content": _content(item.get("content"))})
        elif kind.endswith("_output"):
            turn = None
            messages.append({"role": "tool", "content": _text(item.get("output"))})
        elif kind in ("message", "reasoning") or kind.endswith("_call"):
            if turn is None:
                turn = {"role": "assistant", "content": ""}
                messages.append(turn)
            _add(turn, kind, item)
    return [Message.model_validate(message) for message in messages]


def last_words(messages: Sequence[Message]) -> str:
    """The text of the assistant's last message, without its reasoning; empty if there is none."""
    return next((message.text for message in reversed(messages) if message.role == "assistant"), "")


def _add(turn: dict[str, Any], kind: str, item: dict[str, Any]) -> None:
    if kind == "message":
        turn["content"] = _joined(turn["content"], _text(item.get("content")))
    elif kind == "reasoning":
        thoughts = _text(item.get("content")) or _text(item.get("summary"))
        turn["reasoning_content"] = _joined(turn.get("reasoning_content", ""), thoughts)
    else:
        given = next((item[name] for name in ("arguments", "input", "action") if name in item), "")
        function = {"name": str(item.get("name") or kind), "arguments": given}
        turn.setdefault("tool_calls", []).append({"type": "function", "function": function})


def _joined(before: str, text: str) -> str:
    return "\n".join(said for said in (before, text) if said)


def _content(content: Any) -> str | list[Any]:
    """A message's content: its text, or its parts if some of them are no texts."""
    parts = content if isinstance(content, list) else []
    if all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        return _text(content)
    return [part for part in parts if isinstance(part, dict)]


def _text(content: Any) -> str:
    """A text, or the texts of parts joined."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text", part.get("refusal")) for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))
