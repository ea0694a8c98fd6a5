"""API keys, scopes and run prefixes, and that nothing is reachable without them."""

import hashlib
import hmac
import json
import os

import pytest
from memr_client.errors import Forbidden, MemrError, Unauthorized, UnknownRoute, WrongMethod
from memr_service.app import auth
from memr_service.app.auth import ANYBODY, ROUTES, Authorise, Key, Keys
from starlette.datastructures import Headers


def key(secret, scope="read", runs="", name="somebody"):
    return Key(name=name, scope=scope, sha256=hashlib.sha256(secret.encode()).hexdigest(), runs=runs)


def call(keys, method, path, headers=None):
    """A request's state after `Authorise.check`; raises what it raises."""

    async def app(scope, receive, send):
        raise AssertionError("check alone does not call the app")

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "state": {}}
    Authorise(app, keys).check(scope)
    return scope["state"]


def test_a_server_without_keys_lets_everybody_do_everything():
    assert call(Keys(), "DELETE", "/runs/a")["caller"] is ANYBODY


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer s"}, {"authorization": "bearer  s "}, {"X-API-Key": "s"}]
)
def test_a_key_is_taken_from_either_header(headers):
    assert call(Keys([key("s")]), "GET", "/runs", headers)["caller"].name == "somebody"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "S"},
        {"Authorization": "Basic s"},
        {"Authorization": "s"},
        {"X-API-Key": "ÿ"},
    ],
)
def test_no_key_and_a_wrong_key_are_401_and_python_is_told_what_to_pass(headers):
    with pytest.raises(Unauthorized, match=r"(?s)api_key=.*MEMR_API_KEY"):
        call(Keys([key("s")]), "GET", "/runs", headers)


@pytest.mark.parametrize("raw", ["/runs%2Fa", "/runs/a%2fcheckpoints%2Fb", "/runs/..%2Fa"])
def test_a_path_with_an_encoded_slash_is_no_route(raw):
    scope = {
        "type": "http",
        "method": "DELETE",
        "path": "/runs/a",
        "raw_path": raw.encode(),
        "headers": [],
        "state": {},
    }
    with pytest.raises(UnknownRoute, match="no slash") as caught:
        Authorise(None, Keys()).check(scope)
    assert caught.value.value == raw


def test_the_hash_of_a_key_is_not_a_key():
    with pytest.raises(Unauthorized):
        call(Keys([key("s")]), "GET", "/runs", {"X-API-Key": key("s").sha256})


def test_every_key_is_compared_in_constant_time_even_after_a_match(monkeypatch):
    compared = []
    monkeypatch.setattr(auth.hmac, "compare_digest", lambda a, b: compared.append(b) or a == b)
    keys = [key(secret) for secret in "abc"]
    Keys(keys).caller(Headers({"X-API-Key": "a"}))
    assert compared == [one.sha256 for one in keys]
    assert hmac.compare_digest is auth.hmac.compare_digest


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("read", {("GET", "/runs")}),
        ("write", {("GET", "/runs"), ("POST", "/reward"), ("PUT", "/runs/a")}),
        ("admin", {("GET", "/runs"), ("POST", "/reward"), ("PUT", "/runs/a"), ("DELETE", "/runs/a")}),
    ],
)
def test_scopes_reach_as_far_as_they_should_and_no_further(scope, allowed):
    keys = Keys([key("s", scope)])
    for method, path in [("GET", "/runs"), ("POST", "/reward"), ("PUT", "/runs/a"), ("DELETE", "/runs/a")]:
        if (method, path) in allowed:
            call(keys, method, path, {"X-API-Key": "s"})
        else:
            with pytest.raises(Forbidden):
                call(keys, method, path, {"X-API-Key": "s"})


def test_a_key_bound_to_a_prefix_reaches_only_runs_of_that_prefix():
    keys = Keys([key("s", "admin", runs="alice-")])
    assert call(keys, "DELETE", "/runs/alice-1", {"X-API-Key": "s"})["run_id"] == "alice-1"
    for path in ("/runs/bob-1", "/runs/alice", "/runs/bob-1/export", "/runs/Alice-1"):
        with pytest.raises(Forbidden) as refused:
            call(keys, "GET", path, {"X-API-Key": "s"})
        assert "alice-" in refused.value.limit


def test_a_path_outside_the_table_does_not_exist_whoever_asks():
    for headers in ({}, {"X-API-Key": "s"}):
        with pytest.raises(UnknownRoute):
            call(Keys([key("s", "admin")]), "GET", "/nowhere", headers)


@pytest.mark.parametrize("path", ["/livez/", "/LIVEZ", "//livez", "/livez/../runs", "/runs/a/b", "/runs/"])
def test_paths_that_only_resemble_a_route_are_no_route(path):
    with pytest.raises(UnknownRoute):
        call(Keys(), "GET", path)


def test_a_method_that_is_not_in_the_table_is_405_with_all_that_are():
    with pytest.raises(WrongMethod) as refused:
        call(Keys(), "PATCH", "/runs/a")
    assert refused.value.limit == ["DELETE", "GET", "PUT"]


def test_another_method_of_an_open_route_is_not_open():
    with pytest.raises(WrongMethod):
        call(Keys([key("s", "admin")]), "POST", "/livez", {"X-API-Key": "s"})


def test_a_path_below_a_proxys_prefix_is_found():
    scope = {"type": "http", "method": "GET", "path": "/memr/livez", "root_path": "/memr", "headers": [], "state": {}}
    Authorise(None, Keys()).check(scope)
    assert scope["state"]["route"] == "/livez"


def test_only_the_probes_and_the_dashboards_own_files_are_open():
    opened = {path for path, methods in ROUTES.items() if None in methods.values()}
    assert opened == {"/livez", "/readyz", "/", "/dashboard/{name}"}


def write(tmp_path, content):
    path = tmp_path / "keys.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_keys_are_read_from_a_file(tmp_path):
    sha256 = hashlib.sha256(b"s").hexdigest()
    keys = Keys.read(write(tmp_path, [{"name": "a", "scope": "write", "sha256": sha256, "runs": "a-"}]))
    assert keys
    assert keys.caller(Headers({"X-API-Key": "s"})) == Key(name="a", scope="write", sha256=sha256, runs="a-")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[", "Invalid JSON"),
        ([], "no key"),
        ({}, "array"),
        (["secret"], "entry 1: it should be an object"),
        ([{"scope": "read", "sha256": "secret"}], "entry 1 has no name"),
        ([{"name": "a", "scope": "root", "sha256": "0" * 64}], "scope of entry 1 is 'root'"),
        ([{"name": "a", "scope": "read", "sha256": "secret"}], "sha256 of entry 1 should be the key's SHA-256"),
        ([{"name": "a", "scope": "read", "sha256": "0" * 64, "run": "a"}], "unknown field, 'run'"),
    ],
)
def test_a_wrong_keys_file_stops_the_start_and_says_where(tmp_path, content, told):
    with pytest.raises(MemrError, match=told) as refused:
        Keys.read(write(tmp_path, content))
    assert "keys.json" in str(refused.value)
    assert "secret" not in str(refused.value)


SENT = Headers({"X-API-Key": "s"})
ENTRY = {"name": "a", "scope": "write", "sha256": hashlib.sha256(b"s").hexdigest()}


def test_a_revoked_key_stops_at_once_and_a_new_one_works(tmp_path):
    other = {**ENTRY, "name": "b", "sha256": hashlib.sha256(b"t").hexdigest()}
    keys = Keys.read(write(tmp_path, [ENTRY]))
    assert keys.caller(SENT).name == "a"
    write(tmp_path, [other])
    with pytest.raises(Unauthorized):
        keys.caller(SENT)
    assert keys.caller(Headers({"X-API-Key": "t"})).name == "b"
    write(tmp_path, [{**ENTRY, "scope": "read"}, other])
    assert keys.caller(SENT).scope == "read"


def test_a_file_without_keys_admits_nobody(tmp_path):
    keys = Keys.read(write(tmp_path, [ENTRY]))
    write(tmp_path, [])
    for headers in (SENT, Headers()):
        with pytest.raises(Unauthorized):
            keys.caller(headers)
    assert keys


@pytest.mark.parametrize("change", [lambda path: path.write_text("["), lambda path: path.unlink()])
def test_a_keys_file_that_breaks_leaves_the_keys_and_is_logged_once(tmp_path, caplog, change):
    keys = Keys.read(write(tmp_path, [ENTRY]))
    change(tmp_path / "keys.json")
    with caplog.at_level("ERROR", "memr.app"):
        assert keys.caller(SENT).name == keys.caller(SENT).name == "a"
    assert caplog.text.count("keys stay as they were") == 1
    write(tmp_path, [])
    with pytest.raises(Unauthorized):
        keys.caller(SENT)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(("mode", "says"), [(0o600, ""), (0o640, ""), (0o644, "may read"), (0o666, "may write to")])
def test_a_keys_file_that_others_can_read_is_warned_of(tmp_path, caplog, mode, says):
    path = write(tmp_path, [ENTRY])
    path.chmod(mode)
    with caplog.at_level("WARNING", "memr.app"):
        Keys.read(path)
    assert says in caplog.text
    assert bool(caplog.records) == bool(says)


def test_a_keys_file_may_begin_with_a_byte_order_mark(tmp_path):
    entry = {"name": "a", "scope": "write", "sha256": "0" * 64}
    assert Keys.read(write(tmp_path, "\ufeff" + json.dumps([entry])))


def test_a_key_of_other_runs_is_told_which_it_is_for():
    with pytest.raises(Forbidden, match="start with 'alice-'") as refused:
        Key(name="a", scope="write", sha256="0" * 64, runs="alice-").require_run("bob-1")
    assert refused.value.value == "bob-1"


def test_a_keys_file_that_is_missing_stops_the_start(tmp_path):
    with pytest.raises(MemrError, match="cannot be read"):
        Keys.read(tmp_path / "none.json")
