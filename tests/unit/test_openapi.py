"""The committed OpenAPI document is the app's, and the app conforms to it for any input."""

import hashlib
import json
from pathlib import Path

import msgpack
import schemathesis
from memr_service.app import create_app
from memr_service.settings import Settings
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

COMMITTED = Path(__file__).parents[2] / "openapi.json"


def make_app(**more):
    return create_app(Settings(store="memory:", encoder="hashed", preload=False, **more))


def test_the_committed_document_is_the_apps():
    """After a deliberate change, `make openapi` writes the document again."""
    assert json.loads(COMMITTED.read_text()) == make_app().openapi()


def test_both_body_types_and_an_example_are_documented():
    content = make_app().openapi()["paths"]["/reward"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/msgpack"}
    assert len(content["application/json"]["examples"]) == 2


def test_every_refusal_is_documented_as_a_problem_document():
    for path, operations in make_app().openapi()["paths"].items():
        for method, operation in operations.items():
            refusals = {status: told["content"] for status, told in operation["responses"].items() if status >= "400"}
            assert refusals or path == "/livez", (method, path)
            assert all(list(content) == ["application/problem+json"] for content in refusals.values()), (method, path)


def test_the_server_conforms_to_its_document_for_any_input(tmp_path):
    """Examples, boundary values, random bodies both valid and not, wrong keys, sequences of calls."""
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
            "auth": {"openapi": {"header": {"api_key": key}}},
            # Undeclared headers are ignored, as is usual on the web.
            "generation": {
                "max-examples": 40,
                "deterministic": True,
                "database": "none",
                "allow-extra-parameters": False,
            },
            "checks": {
                # A caller may set a deadline of one millisecond, and then gets 504.
                "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "504"]},
                # A schema cannot express that columns have the same length, or what a run's file is.
                "positive_data_acceptance": {"enabled": False},
            },
        }
    )
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config, headers={"X-API-Key": key})


def write():
    """Write the committed document."""
    COMMITTED.write_text(json.dumps(make_app().openapi(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write()
