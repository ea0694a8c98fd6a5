"""Log lines: ids, traces, and what they must not contain."""

import io
import json
import logging

import pytest
from memr_service.app import logs
from memr_service.app.parameters import logged
from memr_service.app.routes import ALL_ROUTES
from starlette.datastructures import Headers


@pytest.fixture
def written(monkeypatch):
    """The log of a configured process; logging is restored afterwards."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(logs.sys, "stderr", stream)
    root.handlers.clear()
    logs.configure()
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)


def test_every_line_written_during_a_request_carries_its_fields(written):
    token = logs.CURRENT.set({"request_id": "id-1", "traceparent": "t"})
    logging.getLogger("memr.anything").info("during")
    logs.CURRENT.reset(token)
    logging.getLogger("memr.anything").info("after")
    during, after = written()
    assert (during["message"], during["request_id"], during["traceparent"]) == ("during", "id-1", "t")
    assert "request_id" not in after


def test_a_trace_stays_within_one_line(written):
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("memr.anything").exception("failed")
    (line,) = written()
    assert "ValueError: broken" in line["exc_info"]


def test_other_libraries_log_warnings_and_errors_only(written):
    logging.getLogger("httpx").info("quiet")
    logging.getLogger("httpx").warning("loud")
    assert [line["message"] for line in written()] == ["loud"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("", False),
        ("x", False),
        ("00-a\n-b-01", False),
    ],
)
def test_a_well_formed_traceparent_is_passed_through(given, kept):
    assert ("traceparent" in logs.identify(Headers({"traceparent": given}))) is kept


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (b"", "/p"),
        (b"digest=1", "/p?digest=1"),
        (b"key=secret&after=1", "/p?key=REDACTED&after=1"),
        (b"after=1&KEY=secret&key=secret", "/p?after=1&KEY=REDACTED&key=REDACTED"),
        (b"%6bey=secret", "/p?key=REDACTED"),
        (b"api_key=secret&token=secret&After=secret", "/p?api_key=REDACTED&token=REDACTED&After=REDACTED"),
        (b"text=what+a+completion+says", "/p?text=REDACTED"),
    ],
)
def test_only_values_of_known_parameters_without_keys_and_texts_are_shown(query, shown):
    assert logs.path({"path": "/p", "query_string": query}, logged(ALL_ROUTES)) == shown


def test_a_path_is_cut():
    assert len(logs.path({"path": "/" + "x" * 10_000, "query_string": b""}, frozenset())) == 512


@pytest.fixture
def seen(monkeypatch):
    """What a person sees at a terminal."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(logs.sys, "stderr", stream)
    root.handlers.clear()
    logs.configure(on_terminal=True)
    yield lambda: stream.getvalue().splitlines()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("uvicorn").setLevel(logging.INFO)


def test_a_terminal_shows_three_lines_then_requests_and_warnings(seen):
    logging.getLogger("uvicorn.error").info("Started server process", extra={"color_message": "\x1b[36m"})
    logs.started("sqlite:///memr-data", "hashed", "http://127.0.0.1:8000")
    line = {"method": "POST", "path": "/reward", "status": 422, "ms": 1.5, "run_id": "r", "problem": "invalid-request"}
    logs.access.info("request", extra=line)
    logging.getLogger("memr.app").warning("careful")
    store, encoder, dashboard, request, warning = seen()
    assert store.split() == ["store", "sqlite:///memr-data"]
    assert encoder.split() == ["encoder", "hashed"]
    assert dashboard.split() == ["dashboard", "http://127.0.0.1:8000/"]
    assert request.split()[1:] == ["POST", "/reward", "422", "1.5", "ms", "r", "invalid-request"]
    assert warning == "warning: careful"


def test_json_has_the_address_and_no_colours(written):
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\x1b[36m"})
    logs.started("sqlite:///memr-data", "hashed", "http://127.0.0.1:8000")
    first, second = written()
    assert "color_message" not in first
    assert second["message"] == "serving at http://127.0.0.1:8000/"
    assert (second["store"], second["encoder"]) == ("sqlite:///memr-data", "hashed")
