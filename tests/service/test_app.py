"""The HTTP service as a caller sees it: routes, responses and errors, over the real service in process."""

import asyncio
import gc
import gzip
import hashlib
import json
import logging
import time
import weakref

import httpx
import msgpack
import numpy as np
import pytest
from memr_client.errors import EncoderUnusable, Unavailable
from memr_client.schemas import RewardResponse, RunInfo, RunList, Version
from memr_service.app import create_app
from memr_service.app.auth import ROUTES
from memr_service.app.problems import as_problem
from memr_service.engine.service import Service
from memr_service.settings import Settings
from starlette.testclient import TestClient

SETTINGS = {"store": "memory:", "encoder": "hashed", "preload": False, "max_items": 64, "max_text_chars": 1000}


def body(n=2, run_id="run", **more):
    return {
        "run_id": run_id,
        "prompts": [f"What is 7 + {i}?" for i in range(n)],
        "completions": [f"It is {7 + i}." for i in range(n)],
        "outcomes": [float(i % 2) for i in range(n)],
        **more,
    }


@pytest.fixture
def client():
    with TestClient(create_app(Settings(**SETTINGS))) as client:
        yield client


@pytest.fixture(scope="module")
def shared():
    """A server with one run, for tests that change nothing."""
    with TestClient(create_app(Settings(**SETTINGS))) as client:
        client.post("/reward", json=body(), headers={"X-Request-Timeout-Ms": "9" * 5000})
        yield client


def with_service(kind, **settings):
    """An app over a service of this class."""
    settings = Settings(**SETTINGS | settings)
    return create_app(settings, kind.open(settings))


# What works


def test_a_batch_gets_one_reward_for_each_completion_and_is_remembered(client):
    response = client.post("/reward", json=body(4, step=0))
    assert response.status_code == 200
    answer = RewardResponse.model_validate_json(response.content)
    assert len(answer.rewards) == len(answer.components["exploit"].raw) == 4
    assert answer.memory.success.completions == answer.memory.failure.completions == 2
    assert client.get("/runs/run").json()["position"] == answer.position == 1


def test_a_record_is_applied_after_the_response_without_another_request(client):
    position = client.post("/reward", json=body(4)).json()["position"]
    run = client.app.state.context.service.registry._open["run"]
    until = time.monotonic() + 10
    while run.state.position < position:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_every_response_has_its_timing_and_the_id_of_its_log_lines(client):
    response = client.post("/reward", json=body(), headers={"X-Request-Id": "step-1.rank-0"})
    assert response.headers["x-request-id"] == "step-1.rank-0"
    assert {part.split(";dur=")[0] for part in response.headers["server-timing"].split(", ")} == {"body", "service"}


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "é", "{}"])
def test_a_request_id_of_another_form_is_replaced(shared, given):
    made = shared.get("/livez", headers={"X-Request-Id": given.encode("latin-1")}).headers["x-request-id"]
    assert made != given
    assert len(made) == 32


def test_json_and_packed_messagepack_with_embeddings_get_the_same_rewards(client):
    rows = np.random.default_rng(0).normal(size=(2, 4, 8)).astype("<f4")
    as_lists = {"prompts": rows[0].tolist(), "completions": rows[1].tolist()}
    as_bytes = {"prompts": rows[0].tobytes(), "completions": rows[1].tobytes()}
    plain = client.post("/reward", json=body(4, "a", embeddings=as_lists))
    packed = client.post(
        "/reward",
        content=gzip.compress(msgpack.packb(body(4, "b", embeddings=as_bytes))),
        headers={"Content-Type": "application/msgpack", "Content-Encoding": "gzip"},
    )
    assert plain.status_code == packed.status_code == 200
    assert plain.json()["rewards"] == packed.json()["rewards"]
    assert plain.json()["chain"] == packed.json()["chain"]


def test_a_prompts_embedding_may_be_sent_once_for_all_its_items(client):
    rows = np.random.default_rng(0).normal(size=(4, 8)).tolist()
    alike = {"prompts": ["q"] * 4, "request_id": "r1"}
    whole = {"prompts": [rows[0], rows[0], rows[1], rows[0]], "completions": rows}
    once = {"prompts": [rows[1], rows[0]], "completions": rows, "prompt_of": [1, 1, 0, 1]}
    first = client.post("/reward", json=body(4, **alike, embeddings=whole))
    again = client.post("/reward", json=body(4, **alike, embeddings=once))
    assert first.status_code == 200
    assert again.headers["idempotency-replayed"] == "true"  # the same body in shorter form
    fresh = client.post("/reward", json=body(4, "other", **alike, embeddings=once))
    assert fresh.json()["chain"] == first.json()["chain"]
    wrong = client.post("/reward", json=body(4, **alike, embeddings={**once, "prompt_of": [1, 0, 0, 1]}))
    assert_problem(wrong, 422)


def test_a_body_that_is_parsed_in_a_thread_gets_the_same_response(client, monkeypatch):
    direct = client.post("/reward", json=body(run_id="direct"))
    monkeypatch.setattr("memr_service.app.body.BIG", 0)
    threaded = client.post("/reward", json=body(run_id="threaded"))
    assert direct.status_code == threaded.status_code == 200
    assert threaded.json()["components"] == direct.json()["components"]


def test_memory_that_a_large_body_left_free_is_given_back(client, monkeypatch):
    given_back = []
    monkeypatch.setattr("memr_service.app.access_log.give_back", lambda: given_back.append(True))
    monkeypatch.setattr("memr_service.app.access_log.GIVE_BACK_AFTER_S", 0)
    client.post("/reward", json=body())
    client.get("/runs")
    assert not given_back
    client.post("/reward", json=body(run_id="x" * (5 << 20)))
    for _ in range(100):
        client.get("/livez")
        if given_back:
            break
        time.sleep(0.01)
    assert given_back


def test_the_same_request_id_gets_the_same_bytes_and_changes_nothing(client):
    first = client.post("/reward", json=body(request_id="r1"))
    again = client.post("/reward", json=body(request_id="r1"))
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.content == first.content
    assert client.get("/runs/run").json()["position"] == 1
    assert client.post("/reward", json=body(3, request_id="r1")).status_code == 422


def test_an_empty_batch_gets_empty_lists(client):
    answer = client.post("/reward", json=body(0)).json()
    assert answer["rewards"] == []
    assert answer["position"] == 0


def test_eval_reads_and_leaves_everything_untouched(client):
    client.post("/reward", json=body())
    before = client.get("/runs/run?digest=1").json()
    assert client.post("/reward", json=body(mode="eval")).status_code == 200
    assert client.get("/runs/run?digest=1").json() == before


def test_a_run_is_created_described_listed_and_removed(client):
    assert client.put("/runs/b", json={"k": 3}).status_code == 201
    assert client.put("/runs/b", json={"k": 3}).status_code == 200
    assert client.put("/runs/a", content=msgpack.packb({}), headers={"Content-Type": "application/msgpack"}).is_success
    run = RunInfo.model_validate(client.get("/runs/b").json())
    assert (run.run_id, run.config.k, run.digest) == ("b", 3, None)
    assert len(client.get("/runs/b", params={"digest": 1}).json()["digest"]) == 64
    assert [one.run_id for one in RunList.model_validate(client.get("/runs").json()).runs] == ["a", "b"]
    assert client.delete("/runs/b").status_code == 204
    assert client.get("/runs/b").status_code == 404


def test_another_config_for_a_run_with_records_is_409_and_names_the_fields(client):
    client.post("/reward", json=body())
    refused = client.put("/runs/run", json={"k": 3, "window": 5})
    assert refused.status_code == 409
    assert refused.json()["fields"] == ["k", "window"]
    assert "another config: k is 1, not 3; window is 100, not 5." in refused.json()["detail"]


def test_a_run_without_records_takes_another_config_and_the_response_says_so(client):
    assert client.put("/runs/run", json={"k": 3}).json()["warnings"] == []
    assert client.put("/runs/run", json={"k": 3}).json()["warnings"] == []
    replaced = client.put("/runs/run", json={"k": 5})
    assert (replaced.status_code, replaced.json()["config"]["k"]) == (200, 5)
    assert replaced.json()["warnings"] == ["The run had no completions, so its config was replaced: k was 3, now 5."]
    assert client.get("/runs/run").json()["warnings"] == []


def test_an_exported_run_can_be_imported_under_another_name(client):
    client.post("/reward", json=body(8))
    exported = client.get("/runs/run/export")
    assert exported.headers["content-type"] == "application/octet-stream"
    assert exported.headers["content-disposition"] == 'attachment; filename="run.memr"'
    octets = {"Content-Type": "application/octet-stream"}
    imported = client.post("/runs/copy/import", content=exported.content, headers=octets)
    assert imported.status_code == 201
    a, b = (client.get(f"/runs/{name}?digest=1").json() for name in ("run", "copy"))
    assert (a["chain"], a["digest"]) == (b["chain"], b["digest"])
    assert client.post("/runs/copy/import", content=exported.content, headers=octets).status_code == 409
    assert client.post("/runs/other/import", content=exported.content[:-9], headers=octets).status_code == 422
    assert client.post("/runs/other/import", json={}).status_code == 415
    assert client.get("/runs/other").status_code == 404


def test_the_server_reports_its_versions_and_presets(client):
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json()["status"] == "ready"
    assert client.get("/presets").json()["memory-r"]["components"] == {"exploit": {"weight": 1.0}}
    assert Version.model_validate(client.get("/version").json()).law >= 1
    assert client.get("/docs").headers["content-type"].startswith("text/html")


# What is refused: the status, a problem document, and nothing changed

REFUSED = [
    (422, {"json": body(outcomes=["1", "0"])}),
    (422, {"json": body(outcomes=[1.0])}),
    (422, {"json": body(unknown=1)}),
    (422, {"json": body(run_id="../x")}),
    (422, {"json": body(run_id="x" * 129)}),
    (422, {"json": body(request_id="")}),
    (422, {"json": body(step=-1)}),
    (422, {"json": body(prompts=[[{"role": "system", "content": "q"}]] * 2)}),
    (422, {"json": body(embeddings={"prompts": [[1.0], [0.0]], "completions": [[1.0], [1.0]]})}),
    (422, {"json": body(embeddings={"prompts": [[1.0], [1.0, 2.0]], "completions": [[1.0], [1.0]]})}),
    (422, {"json": body(embeddings={"prompts": "text", "completions": "text"})}),
    (422, {"json": body(embeddings={"prompts": [[1.0]], "completions": [[1.0], [1.0]], "prompt_of": [0]})}),
    (422, {"json": body(embeddings={"prompts": [[1.0]], "completions": [[1.0], [1.0]], "prompt_of": [0, 1]})}),
    (422, {"json": body(embeddings={"prompts": [[1.0]] * 2, "completions": [[1.0], [1.0]], "prompt_of": [0, 0]})}),
    (422, {"json": body(embeddings={"prompts": [[1.0]] * 3, "completions": [[1.0], [1.0]], "prompt_of": [0, 2]})}),
    (422, {"json": body(embeddings={"prompts": [[1.0]], "completions": [[1.0], [1.0]], "prompt_of": [0, -1]})}),
    (422, {"json": body(embeddings={"prompts": [[1.0] * 5] * 2, "completions": [[1.0] * 5] * 2})}),
    (422, {"json": []}),
    (413, {"json": body(65)}),
    (413, {"json": body(completions=["x" * 1001, ""])}),
    (422, {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    (422, {"content": b'"\\ud800"', "headers": {"Content-Type": "application/json"}}),
    (422, {"content": b"\xc1", "headers": {"Content-Type": "application/msgpack"}}),
    (422, {"content": b"{}", "headers": {"Content-Type": "application/json", "Content-Encoding": "gzip"}}),
    (415, {"content": b"{}", "headers": {"Content-Type": "text/plain"}}),
    (415, {"content": b"{}"}),
    (415, {"content": b"{}", "headers": {"Content-Type": "application/json", "Content-Encoding": "br"}}),
    (422, {"json": body(), "headers": {"X-Request-Timeout-Ms": "0"}}),
    (422, {"json": body(), "headers": {"X-Request-Timeout-Ms": "0" * 5000}}),
    (422, {"json": body(), "headers": {"X-Request-Timeout-Ms": "soon"}}),
    (404, {"json": body(run_id="nobody", mode="eval")}),
]


@pytest.fixture(scope="module")
def before(shared):
    return state(shared)


def state(client):
    return client.get("/runs").json(), client.get("/runs/run?digest=1").json()


@pytest.mark.parametrize(("status", "sent"), REFUSED)
def test_bad_input_gets_its_status_with_a_remedy_and_changes_nothing(shared, before, status, sent):
    refused = shared.post("/reward", **sent)
    assert_problem(refused, status)
    assert refused.json()["remedy"]
    assert state(shared) == before


def assert_problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["type"].startswith("urn:memr:problem:")
    assert document["request_id"] == response.headers["x-request-id"]


def test_the_frameworks_own_errors_are_problem_documents_too(client):
    assert_problem(client.get("/nowhere"), 404)
    assert_problem(client.get("/runs/"), 404)
    assert_problem(client.get("/runs/a%20b"), 422)
    assert_problem(client.get("/runs/a%00"), 422)
    assert_problem(client.get("/runs/a", params={"digest": "maybe"}), 422)
    refused = client.patch("/runs/a")
    assert_problem(refused, 405)
    assert refused.headers["allow"] == "DELETE, GET, PUT"


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics"])
def test_a_probe_may_ask_by_head(shared, path):
    asked, got = shared.head(path), shared.get(path)
    assert (asked.status_code, asked.content) == (got.status_code, b"") == (200, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]


def test_head_is_answered_by_nothing_else(client):
    assert client.head("/runs").status_code == 405


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/reward/reward", "/reward is a route, but not under /reward: the service's address ends before /reward"),
        ("/reward/runs/r/history", "/runs/r/history is a route, but not under /reward"),
        ("/memr/v1/reward", "/reward is a route, but not under /memr/v1"),
        ("/runs/my/run/reward", "has no slash, so 'my/run' is none"),
        ("/runs/my/run/reward", "POST /reward, with the run's name in the body"),
        ("/runs/r/", "Write it as /runs/r, without other slashes"),
        ("//reward", "Write it as /reward, without other slashes"),
        ("/healthz", "GET /livez and GET /readyz"),
        ("/rewards", "Did you mean /reward?"),
        ("/", ""),
    ],
)
def test_a_path_that_is_no_route_is_told_what_is_wrong_with_it(shared, path, says):
    refused = shared.post(path if path != "//reward" else "http://testserver//reward", json={})
    assert refused.json()["status"] == (405 if path == "/" else 404)
    assert says in refused.json()["remedy"]


def test_a_defect_is_500_with_an_id_and_its_trace_is_in_the_log_alone(caplog):
    class Broken(Service):
        async def reward(self, *args):
            raise ZeroDivisionError("secret")

    with TestClient(with_service(Broken)) as client, caplog.at_level(logging.INFO, "memr"):
        refused = client.post("/reward", json=body())
    assert_problem(refused, 500)
    assert "secret" not in refused.text
    assert "ZeroDivisionError: secret" in caplog.text


def test_retry_after_is_a_header_where_it_is_known():
    class Busy(Service):
        async def reward(self, *args):
            raise Unavailable("Busy.", retry_after=7)

    with TestClient(with_service(Busy)) as client:
        refused = client.post("/reward", json=body())
    assert_problem(refused, 503)
    assert refused.headers["retry-after"] == "7"


# Deadlines, clients that disconnect


@pytest.mark.parametrize(("asked_ms", "seconds"), [(None, 20), ("1500", 1.5), ("9" * 400, 20)])
def test_the_deadline_is_the_callers_or_the_servers_whichever_is_nearer(asked_ms, seconds):
    left = []

    class Patient(Service):
        async def reward(self, request, deadline, queued_s, warnings, waits):
            left.append(deadline - time.monotonic() + queued_s)
            return await super().reward(request, deadline, queued_s)

    headers = {} if asked_ms is None else {"X-Request-Timeout-Ms": asked_ms}
    with TestClient(with_service(Patient, deadline_s=20)) as client:
        assert client.post("/reward", json=body(), headers=headers).status_code == 200
    assert left == [pytest.approx(seconds, abs=0.5)]


def test_work_for_a_client_that_disconnects_is_cancelled():
    begun, cancelled = asyncio.Event(), asyncio.Event()

    class Slow(Service):
        async def reward(self, *args):
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    app = with_service(Slow)
    sent = []

    async def receive():
        if not begun.is_set() and not sent:
            sent.append("body")
            return {"type": "http.request", "body": json.dumps(body()).encode(), "more_body": False}
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError("nobody is there to be answered")

    async def scenario():
        async with app.router.lifespan_context(app):
            await app(asgi_scope("POST", "/reward"), receive, send)
            assert cancelled.is_set()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def asgi_scope(method, path):
    headers = [(b"content-type", b"application/json")]
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
        "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": headers, "scheme": "http",
        "server": ("test", 80), "client": ("test", 1),
    }  # fmt: skip


# Starting, draining, readiness


def test_a_draining_server_finishes_what_is_inside_and_refuses_what_comes():
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Service):
        async def reward(self, *args):
            begun.set()
            await go_on.wait()
            return await super().reward(*args)

    app = with_service(Slow)

    async def scenario():
        async with app.router.lifespan_context(app), in_process(app) as client:
            inside = asyncio.create_task(client.post("/reward", json=body()))
            await begun.wait()
            app.state.context.lifecycle.drain()
            ready = await client.get("/readyz")
            assert_problem(ready, 503)
            assert ready.json()["failing"] == {"server": "draining"}
            refused = await client.post("/reward", json=body())
            assert_problem(refused, 503)
            assert refused.headers["retry-after"]
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/metrics")).status_code == 200
            go_on.set()
            assert (await inside).status_code == 200
            assert app.state.context.lifecycle.inside == 0

    asyncio.run(asyncio.wait_for(scenario(), 10))


def in_process(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://memr")


def test_a_server_that_has_not_started_is_alive_but_not_ready():
    app = with_service(Service)

    async def scenario():
        async with in_process(app) as client:
            assert (await client.get("/livez")).status_code == 200
            ready = await client.get("/readyz")
            assert ready.json()["failing"] == {"server": "starting"}
            assert_problem(await client.get("/runs"), 503)
        async with app.router.lifespan_context(app), in_process(app) as client:
            assert (await client.get("/runs")).status_code == 200

    asyncio.run(scenario())


def test_an_encoder_that_cannot_be_loaded_is_said_at_once_and_not_tried_again(monkeypatch, caplog):
    tries = []

    def refuse(name, device):
        tries.append(name)
        raise EncoderUnusable(f"the encoder {name!r} cannot be loaded", value=name, remedy="name another")

    monkeypatch.setattr("memr_service.encoder.registry.SentenceEncoder", refuse)
    monkeypatch.setattr("memr_service.app.readiness.FRESH_S", 0)
    settings = {**SETTINGS, "encoder": "all-MiniLM-L6-v3", "preload": True}
    with caplog.at_level(logging.ERROR, "memr"), TestClient(create_app(Settings(**settings))) as client:
        ends = time.monotonic() + 10
        while (ready := client.get("/readyz")).status_code == 200 and time.monotonic() < ends:
            time.sleep(0.01)
        assert_problem(ready, 503)
        assert ready.json()["encoder"] == "cannot be loaded"
        assert "'all-MiniLM-L6-v3' cannot be loaded" in ready.json()["failing"]["encoder"]
        assert "'all-MiniLM-L6-v3' cannot be loaded name another" in caplog.text
        for refused in (client.post("/reward", json=body()), client.put("/runs/run", json={})):
            assert_problem(refused, 500)
            assert refused.json()["type"] == "urn:memr:problem:encoder-unusable"
            assert "Retry-After" not in refused.headers
        rows = [[1.0, 0.0]] * 2
        assert client.post("/reward", json=body(embeddings={"prompts": rows, "completions": rows})).status_code == 200
    assert tries == ["all-MiniLM-L6-v3"]


def test_a_failing_store_makes_the_server_not_ready_and_is_named():
    class Sick(Service):
        async def ready(self):
            return {"store": "no space left"}

    with TestClient(with_service(Sick)) as client:
        ready = client.get("/readyz")
    assert_problem(ready, 503)
    assert ready.json()["failing"] == {"store": "no space left"}
    assert ready.json()["encoder"] == "not loaded"


# Keys


@pytest.fixture
def guarded(tmp_path):
    """A client of a server with four API keys; each key equals its name."""
    keys = [("reader", "read", ""), ("writer", "write", ""), ("root", "admin", ""), ("alice", "write", "alice-")]
    entries = [
        {"name": name, "scope": scope, "runs": runs, "sha256": hashlib.sha256(name.encode()).hexdigest()}
        for name, scope, runs in keys
    ]
    (tmp_path / "keys.json").write_text(json.dumps(entries))
    with TestClient(create_app(Settings(**SETTINGS, keys_file=tmp_path / "keys.json"))) as client:
        yield client


def key(name):
    return {"Authorization": f"Bearer {name}"}


def routes_of(app):
    """(method, path) of every route of the app."""
    return {(method, route.path) for route in app.routes for method in route.methods if method != "HEAD"}


def test_the_table_of_routes_holds_every_route_of_the_app_and_no_other(client):
    assert routes_of(client.app) == {(method, path) for path, methods in ROUTES.items() for method in methods}


def test_every_route_but_the_probes_and_the_dashboards_own_files_needs_a_key(guarded):
    answered = {}
    for method, path in routes_of(guarded.app):
        response = guarded.request(method, path.replace("{run_id}", "run"))
        answered[method, path] = response.status_code
        if response.status_code == 401:
            assert response.headers["www-authenticate"] == "Bearer"
    opened = {route for route, status in answered.items() if status != 401}
    assert opened == {("GET", path) for path in ("/livez", "/readyz", "/", "/dashboard/{name}")}


def test_a_wrong_key_is_refused_before_the_body_is_looked_at(guarded):
    assert_problem(guarded.post("/reward", content=b"{", headers=key("nobody")), 401)
    assert_problem(guarded.post("/reward", content=b"{", headers=key("reader")), 403)


def test_a_bound_key_reaches_its_runs_alone_also_where_the_run_is_in_the_body(guarded):
    assert guarded.post("/reward", json=body(run_id="alice-1"), headers=key("alice")).status_code == 200
    assert guarded.post("/reward", json=body(run_id="bob-1"), headers=key("writer")).status_code == 200
    assert_problem(guarded.post("/reward", json=body(run_id="bob-1"), headers=key("alice")), 403)
    assert_problem(guarded.post("/reward", json=body(run_id="new"), headers=key("alice")), 403)
    assert_problem(guarded.get("/runs/bob-1", headers=key("alice")), 403)
    listed = {
        name: [run["run_id"] for run in guarded.get("/runs", headers=key(name)).json()["runs"]]
        for name in ("alice", "reader")
    }
    assert listed == {"alice": ["alice-1"], "reader": ["alice-1", "bob-1"]}


def test_deleting_needs_an_admin(guarded):
    guarded.put("/runs/run", json={}, headers=key("writer"))
    assert_problem(guarded.delete("/runs/run", headers=key("writer")), 403)
    assert guarded.delete("/runs/run", headers=key("root")).status_code == 204


# Logs


def test_each_request_has_one_access_line_without_texts_or_keys(guarded, caplog):
    headers = key("writer") | {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with caplog.at_level(logging.DEBUG):
        guarded.post("/reward", json=body(3, prompts=["PRIVATE"] * 3), headers=headers)
        guarded.post("/reward", json=body(3, prompts=["PRIVATE"]), headers={"X-API-Key": "WRONG"})
        guarded.post("/reward?key=writer", json=body(3, prompts=["PRIVATE"] * 3), headers=headers)
    lines = [record for record in caplog.records if record.name == "memr.access"]
    assert [(line.method, line.route, line.status) for line in lines] == [
        ("POST", "/reward", 200),
        ("POST", "/reward", 401),
        ("POST", "/reward", 422),
    ]
    assert lines[1].problem == "unauthorized"
    assert lines[2].path == "/reward?key=REDACTED"
    answered = lines[0].__dict__
    assert {name: answered[name] for name in ("run_id", "n", "caller", "path", "traceparent")} == {
        "run_id": "run", "n": 3, "caller": "writer", "path": "/reward",
        "traceparent": headers["traceparent"],
    }  # fmt: skip
    assert answered["ms"] > 0
    whole = json.dumps([record.__dict__ for record in caplog.records if record.name.startswith("memr")], default=str)
    assert "PRIVATE" not in whole
    assert "WRONG" not in whole
    assert "Bearer" not in whole


# Query parameters


def test_a_parameter_that_a_route_does_not_have_is_refused_on_every_route(client):
    client.put("/runs/run", json={"verifier": "exact"})
    for route, methods in ROUTES.items():
        for method in methods:
            path = route.replace("{run_id}", "run").replace("{name}", "app.js")
            refused = client.request(method, f"{path}?no_such=secret")
            assert_problem(refused, 422)
            assert refused.json()["detail"] == "there is no parameter 'no_such'.", (method, route)
            assert "secret" not in refused.text


def test_a_misspelt_parameter_is_told_the_nearest_and_known_ones_work(client):
    client.put("/runs/run", json={"verifier": "exact"})
    sample = {"query": ["q: a"], "prompts": ["q: "], "labels": ["a"]}
    refused = client.post("/openrlhf/run?equal_spraed=0.25", json=sample)
    assert_problem(refused, 422)
    assert refused.json()["remedy"] == "Did you mean 'equal_spread'?"
    assert refused.json()["value"] == "equal_spraed"
    assert client.post("/openrlhf/run?equal_spread=0.25&mode=train&key=K", json=sample).status_code == 200
    assert client.get("/runs/run?digest=1").json()["digest"]
    assert "X-API-Key" in client.get("/runs?key=K").json()["remedy"]
    assert client.get("/docs").status_code == client.get("/").status_code == 200


def test_parameters_and_paths_are_named_without_the_place_that_they_stand_in(client):
    wrong = client.post("/openrlhf/run?mode=test", json={"query": [], "prompts": [], "labels": []}).json()
    assert wrong["detail"] == "mode is 'test', but must be 'train' or 'eval'."
    assert wrong["remedy"].startswith("Did you mean 'eval'?")
    assert client.get("/runs/a b").json()["detail"].startswith("run_id is 'a b', but a name is")


def test_a_refusal_keeps_no_request_until_python_looks_for_garbage(client, monkeypatch):
    kept = []

    def watched(error):
        kept.append(weakref.ref(error))  # it knows all frames that it passed
        return as_problem(error)

    monkeypatch.setattr("memr_service.app.access_log.as_problem", watched)
    gc.disable()
    try:
        assert_problem(client.post("/reward", json=body(outcomes=["x", 0.0])), 422)
        zeros = {"prompts": [[0.0]] * 2, "completions": [[1.0]] * 2}
        assert_problem(client.post("/reward", json=body(embeddings=zeros)), 422)
        assert_problem(client.post("/reward", json=body(prompts=["q" * (1 << 20)] * 2)), 413)  # read in a thread
        wide = {"prompts": [[0.0] * 4096] * 40, "completions": [[0.0] * 4096] * 40}
        assert_problem(client.post("/reward", json=body(n=40, embeddings=wide)), 422)  # in the thread for texts
        until = time.monotonic() + 10
        while any(one() for one in kept) and time.monotonic() < until:  # a thread may be ending its work
            client.get("/livez")
        assert [one() for one in kept] == [None] * 4
    finally:
        gc.enable()


@pytest.mark.slow
def test_the_openapi_document_is_made_once(client, monkeypatch):
    assert client.get("/openapi.json").json() == client.app.openapi()
    assert client.app.openapi() is client.app.openapi()
