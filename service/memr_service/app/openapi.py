"""The OpenAPI document: FastAPI's own, completed with request bodies, problem documents and API keys."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from memr_client.errors import (
    Forbidden,
    InternalError,
    InvalidRequest,
    ProblemError,
    TooSlow,
    Unauthorized,
    Unavailable,
)
from memr_client.schemas import (
    DecisionsRequest,
    Explain,
    Fork,
    NewCheckpoint,
    OpenRLHFRequest,
    PlanRequest,
    PoolRequest,
    PriorOutcomes,
    Problem,
    ReplayLine,
    ReplayRequest,
    Restore,
    RewardRequest,
    RunConfig,
)
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from memr_service.app.auth import KEY_IN_QUERY, ROUTES
from memr_service.app.problems import MEDIA_TYPE

FILE = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

_DESCRIPTION = """\
Episodic-memory rewards for RL post-training of language models: Memory-R+ (arXiv 2504.02273).

Every error is an RFC 9457 problem document with value, limit and remedy; a refused request changes nothing. Request
bodies are JSON or MessagePack (with embeddings as little-endian float32 bytes, row-major), plain or gzip. The response
and the log repeat the request's `X-Request-Id` header (up to 64 letters, digits, dots, underscores or hyphens).
"""

_EXAMPLES: dict[str, dict[str, Any]] = {
    "RewardRequest": {
        "a step": {
            "summary": "two completions of one prompt",
            "value": {
                "run_id": "gsm8k-qwen-seed0",
                "step": 12,
                "prompts": ["What is 7 + 5?", "What is 7 + 5?"],
                "completions": ["7 + 5 is 12.", "7 + 5 is 11."],
                "outcomes": [1.0, 0.0],
                "request_id": "step-12-rank-0",
            },
        },
        "chat": {
            "summary": "chat messages, read only",
            "value": {
                "run_id": "gsm8k-qwen-seed0",
                "prompts": [[{"role": "user", "content": "What is 7 + 5?"}]],
                "completions": [[{"role": "assistant", "content": "7 + 5 is 12."}]],
                "outcomes": [1.0],
                "mode": "eval",
            },
        },
    },
    "OpenRLHFRequest": {
        "a sample": {
            "summary": "as OpenRLHF sends it",
            "value": {
                "query": ["<|im_start|>user\nWhat is 7 + 5?<|im_end|>\n<|im_start|>assistant\nIt is 12.<|im_end|>"],
                "prompts": ["<|im_start|>user\nWhat is 7 + 5?<|im_end|>\n<|im_start|>assistant\n"],
                "labels": ["12"],
            },
        },
    },
    "RunConfig": {
        "default": {"summary": "the server's default preset", "value": {}},
        "from an earlier run": {
            "summary": "with what another run knows",
            "value": {"prior_runs": ["gsm8k-qwen-seed0"]},
        },
        "exploit only": {"summary": "Memory-R with 20 neighbours", "value": {"preset": "memory-r", "k": 20}},
    },
    "NewCheckpoint": {"a step": {"summary": "with the policy's", "value": {"name": "step-500", "step": 500}}},
    "Restore": {"a step": {"summary": "back to a checkpoint", "value": {"checkpoint": "step-500"}}},
    "Fork": {"a step": {"summary": "from a checkpoint", "value": {"run_id": "lower-lr", "checkpoint": "step-500"}}},
    "Explain": {
        "a text": {
            "summary": "as it would be scored now",
            "value": {"prompt": "What is 7 + 5?", "completion": "7 + 5 is 12.", "outcome": 1.0},
        },
        "an item": {"summary": "as it was scored", "value": {"position": 12, "item": 0}},
    },
    "ReplayRequest": {
        "verify": {"summary": "the run's own config", "value": {}},
        "a sweep": {"summary": "more neighbours", "value": {"settings": [{"k": 1}, {"k": 5}, {"k": 20}]}},
    },
    "PoolRequest": {
        "two prompts": {
            "summary": "with their texts",
            "value": {"prompt_ids": ["train-0", "train-1"], "prompts": ["What is 7 + 5?", "What is 8 + 9?"]},
        },
    },
    "PlanRequest": {
        "a step": {"summary": "8 groups of 16 for step 12", "value": {"n": 8, "group_size": 16, "step": 12}},
    },
    "PriorOutcomes": {
        "an evaluation": {
            "summary": "4 completions of each prompt",
            "value": {"prompt_ids": ["train-0", "train-1"], "right": [3, 0], "n": [4, 4]},
        },
    },
    "DecisionsRequest": {
        "two prompts": {
            "summary": "one reference is wrong, one is right",
            "value": {
                "decisions": [
                    {"prompt_id": "train-0", "decision": "replace", "answer": "12"},
                    {"prompt_id": "train-1", "decision": "keep"},
                ]
            },
        },
    },
}

BODIES: tuple[type[BaseModel], ...] = (
    RewardRequest,
    OpenRLHFRequest,
    RunConfig,
    NewCheckpoint,
    Restore,
    Fork,
    Explain,
    ReplayRequest,
    PoolRequest,
    PlanRequest,
    PriorOutcomes,
    DecisionsRequest,
)
"""Request bodies that routes parse themselves, so FastAPI does not know their schemas."""

COMMON: tuple[type[ProblemError], ...] = (InvalidRequest, Unauthorized, Forbidden, TooSlow, Unavailable, InternalError)
"""Problems that every route with a key may respond with."""


def operation_id(route: APIRoute) -> str:
    """A route's id in the document: its function's name."""
    return route.name


def problems(*classes: type[ProblemError]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may respond with these problems."""
    texts: dict[int | str, list[str]] = {}
    for cls in sorted(classes, key=lambda cls: cls.status):
        texts.setdefault(cls.status, []).append(f"{cls.title}: {(cls.__doc__ or '').strip()}")
    return {status: {"description": " ".join(lines), "content": _problem()} for status, lines in texts.items()}


def body_of(schema: str) -> dict[str, Any]:
    """The `openapi_extra` of a route whose body has this schema, as JSON or MessagePack. No body is an empty object."""
    reference = {"$ref": f"#/components/schemas/{schema}"}
    fields = next(body for body in BODIES if body.__name__ == schema).model_fields.values()
    return {
        "requestBody": {
            "required": any(field.is_required() for field in fields),
            "content": {
                "application/json": {"schema": reference, "examples": _EXAMPLES[schema]},
                "application/msgpack": {"schema": reference},
            },
        }
    }


def file_body() -> dict[str, Any]:
    """The `openapi_extra` of a route that reads a file."""
    return {"requestBody": {"required": True, "content": FILE}}


def lines_of(line: type[BaseModel]) -> dict[str, Any]:
    """The content of a response with one JSON object of this schema per line."""
    schema = {"type": "string", "description": f"Lines of JSON, each a `{line.__name__}`."}
    return {"application/x-ndjson": {"schema": schema}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The app's OpenAPI document."""
    document = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    components = document.setdefault("components", {})
    _, bodies = models_json_schema(
        [*((body, "validation") for body in BODIES), (Problem, "serialization"), (ReplayLine, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    components["schemas"] = dict(sorted({**components.get("schemas", {}), **bodies["$defs"]}.items()))
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "query": {"type": "apiKey", "in": "query", "name": "key"},
    }
    for route, operations in document["paths"].items():
        for method, operation in operations.items():
            scope = ROUTES[route][method.upper()]
            schemes = ("bearer", "header", "query") if route in KEY_IN_QUERY else ("bearer", "header")
            operation["security"] = [] if scope is None else [{scheme: []} for scheme in schemes]
            if scope is not None:
                operation["description"] += f"\n\nIf the server has API keys, this needs one with scope `{scope}`."
    return document


def _problem() -> dict[str, Any]:
    return {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
