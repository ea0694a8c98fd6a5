"""The server as a process: its address, API keys, shutdown and logs."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from memr_client.errors import InvalidRequest, MemrError, Unavailable
from memr_service.app.server import address_of, listen, serve
from memr_service.settings import Settings

PROGRAM = "from memr_service.app.server import serve; from memr_service.settings import Settings; serve(Settings())"
BODY = json.dumps({"run_id": "run", "prompts": ["q"], "completions": ["a"], "outcomes": [1.0]}).encode()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.1", "example.org"])
def test_a_server_without_keys_is_not_opened_to_the_network(host):
    with pytest.raises(MemrError, match="memr key"):
        serve(Settings(host=host, store="memory:", encoder="hashed"))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000"),
        ("0.0.0.0", f"http://{socket.gethostname()}:9000"),
        ("::1", "http://[::1]:9000"),
    ],
)
def test_other_services_find_a_server_where_it_listens(host, address):
    assert address_of(Settings(host=host, port=9000)) == address


def test_a_taken_port_is_named_with_what_to_do_and_no_store_is_opened(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=f"(?s)port {port} on 127.0.0.1 is taken.*--port"):
            serve(Settings(port=port, store=f"sqlite:///{tmp_path}/data", encoder="hashed"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["http://127.0.0.1", "127.0.0.1:8000", "no.such.host.invalid", "192.0.2.1", "x" * 300])
def test_a_host_that_is_not_this_machine_is_refused(host):
    with pytest.raises(InvalidRequest, match="--host") as refused:
        listen(host, 0)
    assert refused.value.limit.endswith("of this machine")


def test_every_address_of_a_name_is_listened_on_with_one_port():
    sockets = listen("localhost", 0)
    assert len({one.getsockname()[1] for one in sockets}) == 1
    for one in sockets:
        with socket.create_connection(one.getsockname()[:2], timeout=5):
            one.close()


class Server:
    """A server process on a free port."""

    def __init__(self, store, **settings):
        fields = {"store": store, "port": 0, "encoder": "hashed", "preload": "false", **settings}
        env = os.environ | {f"MEMR_{name.upper()}": str(value) for name, value in fields.items()}
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=env, stderr=subprocess.PIPE, text=True)
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", self.lines[-1]["message"]):
                self.port = int(found[1])
                self.url = f"http://127.0.0.1:{self.port}"
                return
        raise AssertionError(f"the server did not start: {self.lines}")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.communicate()

    def begin_upload(self):
        """A connection whose request has been admitted, except for its body."""
        upload = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        head = (
            f"POST /reward HTTP/1.1\r\nHost: memr\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"
        )
        upload.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        # The server sends this when the route reads the body.
        assert upload.recv(1024).startswith(b"HTTP/1.1 100")
        return upload

    def stop(self):
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self):
        _, errors = self.process.communicate(timeout=30)
        self.lines += [json.loads(line) for line in errors.splitlines()]
        return self.process.returncode


def until_draining(client):
    for _ in range(10_000):
        if (answer := client.get("/readyz")).status_code == 503:
            return answer
    raise AssertionError("the server does not drain")


def test_sigterm_finishes_requests_in_progress_refuses_new_ones_and_exits_with_0(tmp_path):
    with Server(f"sqlite:///{tmp_path}/data") as server, httpx.Client(base_url=server.url) as client:
        upload = server.begin_upload()
        server.stop()
        assert until_draining(client).json()["failing"] == {"server": "draining"}
        refused = httpx.post(f"{server.url}/reward", content=BODY, headers={"Content-Type": "application/json"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        upload.sendall(BODY)
        assert upload.recv(1024).startswith(b"HTTP/1.1 200")
        upload.close()
        assert server.exit_code() == 0
    with Server(f"sqlite:///{tmp_path}/data") as server:
        assert httpx.get(f"{server.url}/runs/run").json()["position"] == 1
        server.stop()
        assert server.exit_code() == 0


def test_a_request_that_does_not_end_is_waited_for_no_longer_than_drain_s():
    with Server("memory:", drain_s=0.2) as server:
        upload = server.begin_upload()
        server.stop()
        assert server.exit_code() == 0
        upload.close()


@pytest.mark.slow
def test_scoring_that_takes_minutes_is_given_up_and_what_was_answered_stays(tmp_path):
    store = f"sqlite:///{tmp_path}/data"
    with Server(store, drain_s=0.2, scoring_s=10_000) as server, httpx.Client(base_url=server.url) as client:
        settings = {"k": 10_000, "components": {"exploit": {"weight": 1, "centroids": 64}}}
        assert client.put("/runs/heavy", json=settings).status_code == 201
        assert client.post("/reward", json=rewarded("run", 1)).status_code == 200
        with ThreadPoolExecutor(1) as caller:
            asked = caller.submit(httpx.post, f"{server.url}/reward", json=rewarded("heavy", 600), timeout=120)
            time.sleep(1)
            assert not asked.done()
            began = time.monotonic()
            server.stop()
            assert server.exit_code() == 0
            assert time.monotonic() - began < 0.2 + 9 + 5
            assert asked.exception() is not None or asked.result().status_code >= 500
        assert "given up" in server.lines[-1]["message"]
    with Server(store) as server:
        assert httpx.get(f"{server.url}/runs/run").json()["position"] == 1
        assert httpx.get(f"{server.url}/runs/heavy").json()["position"] == 0
        server.stop()
        assert server.exit_code() == 0


def rewarded(run_id, items):
    """A request of so many groups."""
    texts = [f"{number} and {number * 7}" for number in range(items)]
    return {"run_id": run_id, "prompts": texts, "completions": texts, "outcomes": [1] * items, "group_ids": texts}


def test_a_terminal_shows_where_the_runs_are_what_encodes_and_the_dashboard():
    terminal, stderr = pty.openpty()
    command = ["serve", "--host", "[::1]", "--port", "0", "--encoder", "hashed", "--store", "memory:"]
    with subprocess.Popen([sys.executable, "-m", "memr_service", *command], stderr=stderr) as process:
        os.close(stderr)
        with open(terminal, encoding="utf-8") as shown:
            lines = [shown.readline().split() for _ in range(3)]
            process.terminate()
            assert process.wait(30) == 0
    assert lines[:2] == [["store", "memory:"], ["encoder", "hashed"]]
    assert lines[2][0] == "dashboard"
    assert re.fullmatch(r"http://\[::1\]:\d+/", lines[2][1])


def test_every_line_a_server_writes_is_json_and_access_lines_carry_the_request_id():
    with Server("memory:") as server:
        httpx.get(f"{server.url}/readyz")  # a probe that succeeds is not logged
        httpx.get(f"{server.url}/runs?key=secret", headers={"X-Request-Id": "id-1"})
        server.stop()
        assert server.exit_code() == 0
    (line,) = [line for line in server.lines if line["logger"] == "memr.access"]
    assert (line["request_id"], line["status"], line["path"]) == (
        "id-1",
        422,
        "/runs?key=REDACTED",
    )  # only OpenRLHF's route takes a key there
    assert {"time", "level", "message"} <= line.keys()
