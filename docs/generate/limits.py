"""Every limit of a server that is not part of a run's config, with what it is by default."""

from __future__ import annotations

from memr_client.schemas.config import MOST_IN_GROUP
from memr_client.schemas.reward import MOST_PARTS
from memr_service.app import body_size, problems
from memr_service.app.arrival import SLOWEST
from memr_service.app.connections import MOST_HEADERS, OWN_FILES
from memr_service.app.large_bodies import MOST_AT_ONCE
from memr_service.engine.checkpoints import MOST_CHECKPOINTS
from memr_service.run.run import MOST_DIMENSIONS
from memr_service.settings import Settings

from docs.generate.fields import fields
from docs.generate.markdown import table

SETTINGS = (
    "max_connections", "max_peer_connections", "header_s", "body_s", "max_body_bytes", "max_arrived_bytes",
    "max_import_bytes", "max_items", "max_text_chars", "max_queue_texts", "max_waiting_bytes", "deadline_s",
    "verifier_s", "drain_s", "text_quota_bytes", "text_max_age_days",
)  # fmt: skip
FIXED = (
    ("Bytes of a request's headers", MOST_HEADERS),
    ("Open files that connections leave to memr", OWN_FILES),
    ("Bytes a second that a large body may not fall below", SLOWEST),
    ("Lists and objects in a body", body_size.MOST_CONTAINERS),
    ("Texts in a body", body_size.MOST_TEXTS),
    ("Values in a body", body_size.MOST_VALUES),
    ("Bytes, unpacked, of bodies over 4 MiB that are worked on at once; one that is larger, alone", MOST_AT_ONCE),
    ("Wrong fields named in a response", problems.MOST_ERRORS),
    ("Numbers of an embedding", MOST_DIMENSIONS),
    ("Parts of a step", MOST_PARTS),
    ("Completions of a group at a barrier", MOST_IN_GROUP),
    ("Checkpoints of a run", MOST_CHECKPOINTS),
)


def limits() -> str:
    """Settings that limit something, then what is fixed."""
    known = {one.name: one for one in fields(Settings)}
    rows = [[_first(known[name].doc), _number(name), f"`MEMR_{name.upper()}`"] for name in SETTINGS]
    return table(["limit", "default", "variable"], [*rows, *([what, f"{most:,}", "fixed"] for what, most in FIXED)])


def _first(doc: str) -> str:
    """The first sentence."""
    return doc.partition(". ")[0].removesuffix(".")


def _number(name: str) -> str:
    return f"{Settings.model_fields[name].default:,}"
