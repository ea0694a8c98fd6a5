"""The app keeps to its OpenAPI document whatever it is sent."""

import hashlib
import json

import msgpack
import schemathesis
from memr_service.app import create_app
from memr_service.insight.replay import worker
from memr_service.run.spool import temporary_file
from memr_service.settings import Settings
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema


def make_app(**more):
    return create_app(Settings(store="memory:", encoder="hashed", preload=False, **more))


async def replayed_here(readers, pieces, run_id, settings, completions):
    """As `replay.worker.work`, but without a process for each replay, most of which replay nothing."""
    with temporary_file() as file:
        async for piece in pieces:
            file.write(piece)
        for line in worker.compare(file, run_id, settings, completions):
            yield line.model_dump_json().encode() + b"\n"


def test_the_server_keeps_to_its_document_whatever_it_is_sent(tmp_path, monkeypatch):
    """Examples, boundary values, random bodies both valid and not, wrong keys, sequences of calls."""
    monkeypatch.setattr(worker, "work", replayed_here)
    failures, answered = set(), set()
    for event in from_schema(described(tmp_path)).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            recorder = event.recorder
            for checks in recorder.checks.values():
                failures |= {f"{recorder.label}: {one.failure_info.failure}" for one in checks if one.failure_info}
            for exchange in recorder.interactions.values():
                answered.add((recorder.label, exchange.response.status_code))
    assert not failures
    # Every operation was reached, past the keys.
    operations = {f"{method.upper()} {path}" for path, ops in make_app().openapi()["paths"].items() for method in ops}
    assert {label for label, status in answered if status not in (401, 405)} >= operations


def described(folder):
    """The OpenAPI document of a server with keys, bound to the server, for Schemathesis."""
    key = "key-of-the-fuzzer"
    entry = {"name": "fuzzer", "scope": "admin", "sha256": hashlib.sha256(key.encode()).hexdigest()}
    (folder / "keys.json").write_text(json.dumps([entry]))
    app = make_app(keys_file=folder / "keys.json", max_items=100, max_text_chars=10_000)
    schemathesis.serializer("application/msgpack")(lambda context, value: msgpack.packb(value, default=str))
    config = SchemathesisConfig.from_dict(
        {
            "seed": 0,
            "request-timeout": 60,
            "auth": {"openapi": {"header": {"api_key": key}}},
            # Headers that nobody declared are passed over, as everywhere on the web.
            "generation": {
                "max-examples": 8,
                "deterministic": True,
                "database": "none",
                "allow-extra-parameters": False,
            },
            "checks": {
                # A caller may ask for an answer within a millisecond, and then gets 504.
                "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "504"]},
                # A schema cannot say that columns have one length, nor what is a run's file.
                "positive_data_acceptance": {"enabled": False},
            },
        }
    )
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config, headers={"X-API-Key": key})
