"""The committed OpenAPI document is the app's, and the app conforms to it for any input."""

import json
from pathlib import Path

import pytest
from memr_service.app import create_app
from memr_service.settings import Settings

COMMITTED = Path(__file__).parents[2] / "openapi.json"


def make_app(**more):
    return create_app(Settings(store="memory:", encoder="hashed", preload=False, **more))


@pytest.fixture(scope="module")
def document():
    return make_app().openapi()


def test_the_committed_document_is_the_apps(document):
    """After a deliberate change, `make openapi` writes the document again."""
    assert json.loads(COMMITTED.read_text()) == document


def test_both_body_types_and_an_example_are_documented(document):
    content = document["paths"]["/reward"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/msgpack"}
    assert len(content["application/json"]["examples"]) == 2


def test_every_refusal_is_documented_as_a_problem_document(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            refusals = {status: told["content"] for status, told in operation["responses"].items() if status >= "400"}
            assert refusals or path == "/livez", (method, path)
            assert all(list(content) == ["application/problem+json"] for content in refusals.values()), (method, path)


def write():
    """Write the committed document."""
    COMMITTED.write_text(json.dumps(make_app().openapi(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write()
