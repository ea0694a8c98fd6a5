"""Pages of other sites can neither read nor change anything through a visitor's browser."""

import json

import pytest
from memr_service.app import create_app
from memr_service.settings import Settings
from starlette.testclient import TestClient
from support.cases import slow_after
from support.keys import keys_file

LOOPBACK = "http://127.0.0.1:8000"
BODY = json.dumps({"run_id": "run", "prompts": ["q"], "completions": ["a"], "outcomes": [1]})
CHANGING = [
    ("POST", "/reward"),
    ("POST", "/openrlhf/run"),
    ("PUT", "/runs/other"),
    ("DELETE", "/runs/run"),
    ("POST", "/runs/other/import"),
    ("POST", "/runs/run/checkpoints"),
    ("PUT", "/runs/run/pool"),
    ("DELETE", "/runs/run/pool"),
    ("PUT", "/runs/run/decisions"),
    ("POST", "/runs/run/plan"),
    ("POST", "/runs/run/prior"),
    ("DELETE", "/runs/run/prompts/00000000000000000000000000000000"),
    ("DELETE", "/runs/run/checkpoints/cp"),
    ("POST", "/runs/run/restore"),
    ("POST", "/runs/run/fork"),
    ("POST", "/runs/run/explain"),
    ("POST", "/runs/run/replay"),
]


def serving(url=LOOPBACK, **settings):
    given = {"store": "memory:", "encoder": "hashed", "preload": False, **settings}
    return TestClient(create_app(Settings(**given)), base_url=url)


@pytest.fixture(scope="module")
def client():
    with serving() as client:
        client.post("/reward", content=BODY, headers={"Content-Type": "application/json"}).raise_for_status()
        yield client


@pytest.fixture(scope="module")
def before(client):
    return state(client)


def state(client):
    runs = client.get("/runs").json()["runs"]
    return [(run["run_id"], run["chain"]) for run in runs], client.get("/runs/run/checkpoints").json()


def test_every_route_that_changes_something_is_among_those_tried():
    from memr_service.app.auth import ROUTES

    tried = {(method, path.replace("/other", "/run")) for method, path in CHANGING}
    routes = {
        (method, route.replace("{run_id}", "run").replace("{name}", "cp").replace("{key}", "0" * 32))
        for route, methods in ROUTES.items()
        for method in methods
        if method != "GET"
    }
    assert tried == routes


@pytest.mark.parametrize(("method", "path"), CHANGING)
@pytest.mark.parametrize(
    "origin",
    slow_after(2, ["http://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:8000", ""]),
)
def test_a_page_of_another_origin_changes_nothing(client, before, method, path, origin):
    headers = {"Origin": origin, "Content-Type": "application/json"}
    refused = client.request(method, path, content=BODY, headers=headers)
    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:memr:problem:forbidden"
    assert "another origin" in refused.json()["detail"]
    assert state(client) == before


@pytest.mark.parametrize(("method", "path"), [one for one in CHANGING if one[0] != "DELETE"])
@pytest.mark.parametrize(
    "media", slow_after(3, [None, "text/plain", "text/plain;application/json", "", "multipart/form-data"])
)
def test_a_body_needs_a_content_type_that_no_page_can_send_elsewhere(client, before, method, path, media):
    refused = client.request(method, path, content=BODY, headers={} if media is None else {"Content-Type": media})
    assert refused.status_code == 415
    assert "Content-Type: application/" in refused.json()["remedy"]
    assert state(client) == before


def test_a_request_without_a_body_needs_no_content_type(client):
    assert client.put("/runs/empty").status_code == 201
    assert client.delete("/runs/empty").status_code == 204


@pytest.mark.parametrize("path", ["/", "/livez", "/runs", "/runs/run/completions", "/none"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "a.localhost.com", "[", ""]
)
def test_a_rebound_name_reads_nothing(client, path, host):
    refused = client.get(path, headers={"Host": host})
    assert refused.status_code == 403
    assert "MEMR_ALLOWED_HOSTS" in refused.json()["remedy"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "localhost", "LocalHost:8000", "[::1]:8000", "192.168.1.7", "memr-service:8000", "memr.local",
     "memr.default.svc.cluster.local:8000", "x.localhost"],
)  # fmt: skip
def test_addresses_loopback_and_names_of_the_local_network_are_answered(client, host):
    assert client.get("/runs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        ({"allowed_hosts": "memr.example.org, other.example.org"}, "memr.example.org", 200),
        ({"allowed_hosts": "memr.example.org, other.example.org"}, "other.example.org:8000", 200),
        ({"allowed_hosts": "memr.example.org"}, "evil.memr.example.org", 403),
        ({"allowed_hosts": ".example.org"}, "memr.example.org", 200),
        ({"allowed_hosts": ".example.org"}, "memr.example.org.evil.example", 403),
        ({"allowed_hosts": "*"}, "evil.example", 200),
        ({"address": "http://replica-1.example.org:8000"}, "replica-1.example.org:8000", 200),
        ({"host": "memr.example.org"}, "memr.example.org", 200),
        ({"insecure": True}, "evil.example", 403),
    ],
)
def test_other_names_are_those_of_the_settings(settings, host, status):
    with serving(**settings) as client:
        assert client.get("/runs", headers={"Host": host}).status_code == status


def test_a_server_with_keys_answers_to_any_name_unless_names_are_listed(tmp_path):
    keys, key = keys_file(tmp_path, name="ada", scope="read")
    for listed, status in (((), 200), (("memr.example.org",), 403)):
        with serving(keys_file=keys, allowed_hosts=listed) as client:
            headers = {"Host": "other.example.org", "X-API-Key": key}
            assert client.get("/runs", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000", 201),
        ("localhost", "http://localhost", 201),
        ("localhost", "http://localhost:80", 201),
        ("memr.example.org", "https://memr.example.org", 201),
        ("memr:8000", "https://memr.example.org", 201),  # a proxy that changes Host
        ("memr:8000", "https://evil.example", 403),
    ],
)
def test_the_service_s_own_pages_may_change_runs(host, origin, status):
    with serving(allowed_hosts="memr.example.org") as client:
        created = client.put("/runs/new", headers={"Host": host, "Origin": origin})
        assert created.status_code == status


@pytest.mark.parametrize(
    "path", slow_after(6, ["/", "/dashboard/app.js", "/livez", "/runs", "/none", "/docs", "/openapi.json"])
)
def test_every_response_has_its_safety_headers_and_none_admits_other_origins(client, path):
    headers = client.get(path, headers={"Origin": "http://evil.example"}).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert not any(name.startswith("access-control-") for name in headers)


def test_a_page_that_asks_first_is_refused(client):
    asks = {"Origin": "http://evil.example", "Access-Control-Request-Method": "DELETE"}
    assert client.options("/runs/run", headers=asks).status_code == 405
