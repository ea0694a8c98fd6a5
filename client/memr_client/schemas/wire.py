"""Building blocks of every body: names, numbers, texts, and the base classes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from memr_client.schemas.loose import nearest_choice, number_as_text, role_and_content, suggestion, whole_number

if TYPE_CHECKING:
    from typing_extensions import Self

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
NAME_RULE = "a letter or digit, then up to 127 letters, digits, dots, underscores or hyphens"


def name_like(text: str) -> str | None:
    """The valid name that is nearest to a text; None if nothing of it can stay."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[:128] or None


def _check_name(text: str) -> str:
    if re.fullmatch(NAME, text) is None:
        raise PydanticCustomError("name", "{given} is not a name", {"given": repr(text[:80]), "limit": NAME_RULE})
    return text


NUMBER_TOO = {"type": ["string", "integer"]}
"""In JSON Schema: an integer counts as its digits."""

Name = Annotated[
    str,
    Field(strict=True, examples=["gsm8k-qwen-seed0"], json_schema_extra={"pattern": f"^{NAME}$", **NUMBER_TOO}),
    BeforeValidator(number_as_text),
    AfterValidator(_check_name),
]
"""A name of a run or a checkpoint: a letter or digit, then up to 127 letters, digits, dots, underscores or hyphens."""

REQUEST_ID = r"[\x20-\x7e]{1,128}"
REQUEST_ID_RULE = "1 to 128 printable ASCII characters"


def _check_request_id(text: str) -> str:
    if re.fullmatch(REQUEST_ID, text) is None:
        raise PydanticCustomError("request_id", "must be {limit}", {"limit": REQUEST_ID_RULE})
    return text


RequestId = Annotated[
    str,
    AfterValidator(_check_request_id),
    Field(examples=["step-12-rank-0"], json_schema_extra={**NUMBER_TOO, "pattern": f"^{REQUEST_ID}$"}),
    BeforeValidator(number_as_text),
]
"""1 to 128 printable ASCII characters."""

Whole = BeforeValidator(whole_number)
"""Before an integer: 3.0 is read as 3."""

Row = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Count = Annotated[Row, Whole]
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


MOST_UNKNOWN = 10
"""Most unknown fields of one object that are reported."""

REASONING = ("reasoning_content", "reasoning", "thinking")
"""Fields of a message in which servers and trainers keep the thoughts apart from the content."""


class Wire(BaseModel):
    """Base of what callers write. Unknown fields are refused, and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="wrap")
    @classmethod
    def _say_what_is_wrong(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(_few_unknown(given, cls))
        except ValidationError as error:
            raise _in_words(error, cls) from None


def _few_unknown(given: Any, model: type[BaseModel]) -> Any:
    """The given fields, of the unknown ones only the first few: each becomes an error."""
    known = model.model_fields
    if not isinstance(given, dict) or len(given) <= len(known):
        return given
    unknown = [name for name in given if name not in known]
    left_out = set(unknown[MOST_UNKNOWN:])
    return {name: value for name, value in given.items() if name not in left_out} if left_out else given


def _in_words(error: ValidationError, model: type[BaseModel]) -> ValidationError:
    """The error without links to pydantic's pages, and with the nearest field for each unknown one of the model."""
    lines: list[Any] = []
    for one in error.errors(include_url=False):
        message = one["msg"]
        context = {name: value for name, value in one.get("ctx", {}).items() if name != "error"}
        if one["type"] == "extra_forbidden" and len(one["loc"]) == 1:
            message = f"there is no field {str(one['loc'][0])[:64]!r}"
            if (remedy := suggestion(one["loc"][0], model.model_fields)) is not None:
                message += f": {remedy[0].lower()}{remedy[1:].removesuffix('.')}"
                context["remedy"] = remedy
            context["limit"] = ", ".join(model.model_fields)
        elif one["type"] == "literal_error" and (near := nearest_choice(one["input"], one["ctx"]["expected"])):
            message += f". Did you mean {near!r}?"
        kind: Any = PydanticCustomError(one["type"], message, context)
        lines.append({"type": kind, "loc": one["loc"], "input": one["input"]})
    return ValidationError.from_exception_data(error.title, lines)


def under(name: str, error: ValidationError) -> ValidationError:
    """The error of a field's value that was validated by itself, with the field's name before each place."""
    lines: list[Any] = []
    for one in error.errors(include_url=False):
        kind: Any = PydanticCustomError(one["type"], one["msg"], one.get("ctx"))
        lines.append({"type": kind, "loc": (name, *one["loc"]), "input": one["input"]})
    return ValidationError.from_exception_data(error.title, lines)


def unfit(message: str, value: Any, limit: Any, remedy: str | None = None) -> PydanticCustomError:
    """The error of fields that do not go together.

    Args:
        message: what is wrong, without a full stop.
        value: what was sent.
        limit: what is allowed.
    """
    said = {"value": value, "limit": limit, **({} if remedy is None else {"remedy": remedy})}
    return PydanticCustomError("unfit", "{message}", {"message": message, **said})


class ResponseModel(BaseModel):
    """Base of every response. Unknown fields are ignored, so that a client understands a newer service."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Part = Annotated[dict[str, Any], WithJsonSchema({"type": ["object", "string"]})]
"""A part of a message's content; a text stands for {"type": "text", "text": ...}."""


class Message(BaseModel):
    """One chat message. Unknown keys are kept, because they belong to the prompt's identity.

    {"from": "human", "value": ...} is read as {"role": "user", "content": ...}, "gpt" as the role `assistant`.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    role: Annotated[str, Field(strict=True)]
    content: Annotated[str, Field(strict=True)] | Annotated[list[Part], Field(fail_fast=True)] | None = None
    """A text, or a list of parts. Parts with a `text` are joined without a separator. Other parts of a prompt are
    ignored."""

    @model_validator(mode="before")
    @classmethod
    def _read_other_forms(cls, given: Any) -> Any:
        return role_and_content(given)

    @property
    def text(self) -> str:
        """The message's text: its content, or its text parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part["text"] for part in self._parts if isinstance(part.get("text"), str))

    @property
    def reasoning(self) -> str:
        """The thoughts that are kept apart from the content: the first of REASONING that has a text, or the parts of
        the content that have a `thinking`; empty if there are none."""
        fields = self.model_extra or {}
        apart = (said for name in REASONING if isinstance(said := fields.get(name), str) and said)
        thought = (part["thinking"] for part in self._parts if isinstance(part.get("thinking"), str))
        return next(apart, "") or "".join(thought)

    @property
    def calls(self) -> str:
        """The tool calls, one per line as `name({"argument": "value"})`: those of `tool_calls` and `function_call`, and
        the content's parts of type `tool_use`. Ids are left out, since they differ between equal calls."""
        fields = self.model_extra or {}
        listed, single = fields.get("tool_calls"), fields.get("function_call")
        calls = listed if isinstance(listed, list) else [listed]
        calls = [*calls, single, *(part for part in self._parts if part.get("type") == "tool_use")]
        return "\n".join(_call(one) for one in calls if one)

    @property
    def _parts(self) -> list[dict[str, Any]]:
        return self.content if isinstance(self.content, list) else []


def _call(call: Any) -> str:
    """One tool call in words, whichever of the usual shapes it has."""
    named = call
    if isinstance(call, dict):
        named = next((call[kind] for kind in ("function", "custom") if isinstance(call.get(kind), dict)), call)
    if not isinstance(named, dict) or not isinstance(named.get("name"), str):
        return _compact(call)
    arguments = next((named[field] for field in ("arguments", "parameters", "input") if field in named), None)
    return f"{named['name']}({'' if arguments is None else _compact(arguments)})"


def _compact(value: Any) -> str:
    """JSON with sorted keys. A text that holds JSON reads like what it holds; another text stays as it is."""
    held = value
    if isinstance(value, str):
        try:
            held = json.loads(value)
        except (ValueError, RecursionError):
            return value
    return json.dumps(held, ensure_ascii=False, sort_keys=True)


def _kind_of_text(given: Any) -> str | None:
    if isinstance(given, str):
        return "<text>"
    return "<messages>" if isinstance(given, list) else None


Text = Annotated[
    Annotated[str, Field(strict=True), Tag("<text>")]
    | Annotated[list[Message], Field(fail_fast=True), Tag("<messages>")],
    Discriminator(
        _kind_of_text, custom_error_type="text", custom_error_message="must be a text or a list of chat messages"
    ),
]
"""A prompt or a completion: a string, or chat messages."""

_STRINGS = TypeAdapter(list[Annotated[str, Field(strict=True)]])


def are_strings(texts: Sequence[object]) -> TypeGuard[Sequence[str]]:
    """Whether all texts of a column are strings, as they mostly are: then nothing has to look at each of them."""
    return {*map(type, texts)} <= {str}


def _strings_at_once(given: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """A column of strings, without asking of each whether it is one or a list of messages."""
    if type(given) is list and are_strings(given):
        try:
            return _STRINGS.validate_python(given)
        except ValidationError:
            pass  # the error belongs to its place, which the other way knows
    return validate(given)


Texts = Annotated[list[Text], Field(fail_fast=True), WrapValidator(_strings_at_once)]
"""Prompts or completions, one for each item (n)."""


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
