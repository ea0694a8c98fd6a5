"""Building blocks of every body: names, numbers, texts, and the base classes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, WithJsonSchema, model_serializer

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", examples=["gsm8k-qwen-seed0"])]
"""A run's name: a letter or digit, then up to 127 letters, digits, dots, underscores or hyphens."""

RequestId = Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,128}$", examples=["step-12-rank-0"])]
"""1 to 128 printable ASCII characters."""

Count = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Cosine = Annotated[float, Field(ge=-1, le=1, strict=True)]
Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]

Matrix = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "array", "items": {"type": "number"}},
            "description": "n rows of d numbers; in MessagePack n * d * 4 bytes of little-endian float32, row-major",
        }
    ),
]
"""Embeddings on the wire. The service checks them when it makes the array."""

Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Spread = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]


class Wire(BaseModel):
    """Base of every wire type. Unknown fields are refused, and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ResponseModel(Wire):
    """Base of every response. Unknown fields are ignored, so that a client understands a newer service."""

    model_config = ConfigDict(extra="ignore")


class Message(BaseModel):
    """One chat message. Unknown keys are kept, because they belong to the prompt's identity."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: Annotated[str, Field(strict=True)]
    content: Annotated[str, Field(strict=True)] | list[dict[str, Any]] | None = None
    """A text, or a list of parts. Parts with a `text` are joined without a separator; other parts are ignored."""

    @property
    def text(self) -> str:
        """The message's text: its content, or its text parts joined."""
        if isinstance(self.content, list):
            return "".join(part["text"] for part in self.content if isinstance(part.get("text"), str))
        return self.content or ""


Text = Annotated[str, Field(strict=True)] | list[Message]
"""A prompt or a completion: a string, or chat messages."""


class Options(Wire):
    """Base of settings that are written sparsely: `weight` always, other fields only where they differ from default."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in write(self).items()
            if name == "weight" or getattr(self, name) != fields[name].get_default()
        }
