"""Every problem a server may answer with."""

from __future__ import annotations

import json

import httpx
from memr_client.embedded import EmbeddedTransport
from memr_client.errors import PROBLEMS
from memr_client.tries import TRANSIENT

from docs.generate import docstrings
from docs.generate.markdown import table

REMEDIES = {
    "invalid-request": "Correct the field that `detail` names.",
    "malformed-body": "Send JSON or MessagePack, plain or gzip, with the matching `Content-Type`.",
    "unauthorized": "Send a key of the server's keys file as `Authorization: Bearer KEY`.",
    "forbidden": "Use a key of the scope that `limit` names, or name the run by the key's prefix; for a Host or an "
    "Origin, do what `remedy` says.",
    "unknown-run": "Create the run with `PUT /runs/{run_id}`, or check its name.",
    "unknown-checkpoint": "`GET /runs/{run_id}/checkpoints` lists the names.",
    "unknown-prompt": "`GET /runs/{run_id}/prompts` lists the prompts with their keys.",
    "unknown-route": "`GET /openapi.json` lists the routes.",
    "wrong-method": "Use one of the methods that `limit` names.",
    "too-slow": "Use a faster connection, send less at once, or raise `MEMR_HEADER_S` or `MEMR_BODY_S`.",
    "conflict": "Use the config, encoder or name that `detail` asks for, or another run.",
    "too-large": "Send less at once, or raise the setting behind `limit` (`MEMR_MAX_BODY_BYTES`, `MEMR_MAX_ITEMS`, "
    "`MEMR_MAX_TEXT_CHARS`, `MEMR_MAX_IMPORT_BYTES`).",
    "unsupported-media": "Send `application/json` or `application/msgpack`.",
    "overloaded": "Wait for `Retry-After` seconds and send the same request id again.",
    "unavailable": "Wait for `Retry-After` seconds and try again; `GET /readyz` says what is missing.",
    "deadline-exceeded": "Try again, or raise `X-Request-Timeout-Ms` and `MEMR_DEADLINE_S`.",
    "store-full": "Free room where the store lies, then try again.",
    "encoder-unusable": "Serve an encoder that can be loaded (`detail` says why this one cannot), or send embeddings.",
    "internal-error": "Look for the request's id in the server's log, and report the trace.",
}
"""What the caller can do, where the problem document itself says nothing more specific."""


def example() -> str:
    """What a server responds where a run does not exist."""
    transport = EmbeddedTransport("memory:", encoder="hashed")
    with httpx.Client(transport=transport, base_url="http://memr", headers={"X-Request-Id": "example"}) as client:
        document = client.get("/runs/gsm8k-seed0").json()
    return f"```json\n{json.dumps(document, indent=2)}\n```"


def problems() -> str:
    """Slug, status, class, meaning and remedy of every problem, by status."""
    rows = []
    for slug, cls in sorted(PROBLEMS.items(), key=lambda item: (item[1].status, item[0])):
        again = "yes" if cls.status in TRANSIENT else "no"
        rows.append([f"`{slug}`", str(cls.status), f"`{cls.__name__}`", docstrings.summary(cls), again, REMEDIES[slug]])
    return table(["type", "status", "class", "meaning", "client retries", "what to do"], rows)
