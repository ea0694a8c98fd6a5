"""Peers that keep connections open: they are disconnected in time, and there is always room for those who work."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager

import httpx
import pytest
from memr_client import RewardClient
from memr_service.app.connections import MOST_HEADERS, OWN_FILES
from support.serving import serving

HEAD = b"POST /reward HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
QUICK = {"MEMR_HEADER_S": "1", "MEMR_BODY_S": "1"}
BODY = {"run_id": "run", "prompts": ["q"], "completions": ["a"], "outcomes": [1.0]}


def connect(url, timeout=20.0):
    parsed = httpx.URL(url)
    return socket.create_connection((parsed.host, parsed.port), timeout)


def until_closed(connection):
    """All that the server still sends, and the seconds until it closes the connection."""
    began, got = time.monotonic(), b""
    try:
        while piece := connection.recv(1 << 16):
            got += piece
    except ConnectionResetError:
        pass
    return got, time.monotonic() - began


def problem(response):
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head.split()[1]), json.loads(body)


def sends_until_refused(connection, piece, pause, seconds):
    """Whether the server closes the connection before so many seconds of such pieces are over."""
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            connection.sendall(piece)
            time.sleep(pause)
    except OSError:
        return True
    return False


def reward(url):
    return httpx.post(f"{url}/reward", json=BODY, timeout=20).status_code


@pytest.fixture(scope="module")
def url():
    with serving(**QUICK) as url:
        yield url


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_who_sends_no_request_is_disconnected(url, sent):
    with connect(url) as connection:
        connection.sendall(sent)
        got, seconds = until_closed(connection)
    assert got == b""
    assert seconds < 10


def test_empty_lines_do_not_keep_a_connection_open(url):
    with connect(url) as connection:
        assert sends_until_refused(connection, b"\r\n", 0.2, 10)


def answered_while_sending(connection, drop):
    """What a connection with a short time-out receives first while a drop is sent again and again."""
    began, got = time.monotonic(), b""
    while not got and time.monotonic() < began + 15:
        connection.sendall(drop)
        try:
            got = connection.recv(1 << 16)
        except TimeoutError:
            continue
    return got


@pytest.mark.parametrize("drop", [b"", b"X-More: 1\r\n"])
def test_headers_that_do_not_end_get_a_408(url, drop):
    with connect(url, timeout=0.2) as connection:
        connection.sendall(HEAD)
        got = answered_while_sending(connection, drop)
    status, document = problem(got)
    assert (status, document["type"], document["limit"]) == (408, "urn:memr:problem:too-slow", "1 s")
    assert "MEMR_HEADER_S" in document["remedy"]


@pytest.mark.parametrize("drop", [b"", b" "])
def test_a_body_that_does_not_end_gets_a_408_and_is_not_read_further(url, drop):
    with connect(url, timeout=0.2) as connection:
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n{")
        got = answered_while_sending(connection, drop)
    status, document = problem(got)
    assert (status, document["type"]) == (408, "urn:memr:problem:too-slow")
    assert "MEMR_BODY_S" in document["remedy"]


def test_an_import_that_does_not_go_on_gets_a_408(url):
    head = b"POST /runs/slow/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
    with connect(url) as connection:
        connection.sendall(head + b"Content-Length: 1000\r\n\r\nmemr run 1\n")
        status, document = problem(until_closed(connection)[0])
    assert (status, document["type"]) == (408, "urn:memr:problem:too-slow")


def test_a_large_body_may_take_longer_than_a_small_one(url):
    body = json.dumps(BODY).encode() + b" " * 300_000
    with connect(url) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 100_000):
            connection.sendall(body[start : start + 100_000])
            time.sleep(0.7)
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_a_body_that_nobody_reads_does_not_keep_a_connection_open(url):
    with connect(url) as connection:
        connection.sendall(
            b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n" + bytes(100_000)
        )
        got, seconds = until_closed(connection)
    assert got.startswith(b"HTTP/1.1 404")
    assert seconds < 10


def test_too_many_headers_get_a_413(url):
    with connect(url) as connection:
        connection.sendall(HEAD + b"X-Long: " + b"x" * (MOST_HEADERS + 1))
        status, document = problem(until_closed(connection)[0])
    assert (status, document["limit"]) == (413, MOST_HEADERS)


def test_headers_after_a_body_are_not_kept(url):
    body = json.dumps(BODY).encode()
    with connect(url) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(body), body))
        time.sleep(0.2)
        assert sends_until_refused(connection, b"X-Trailer: " + b"x" * 1000 + b"\r\n", 0.001, 0.9)


def test_who_takes_no_response_is_disconnected(url):
    with RewardClient(url, run="large") as client:
        for step in range(40):
            client.reward(["q"] * 500, [f"{step} {item}" for item in range(500)], [1.0] * 500)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((httpx.URL(url).host, httpx.URL(url).port))
        connection.settimeout(20)
        connection.sendall(b"GET /runs/large/export HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(6)
        got, _ = until_closed(connection)
    assert len(got) < len(httpx.get(f"{url}/runs/large/export").content)


@contextmanager
def held(url, count, sent=b""):
    """So many connections that have sent this."""
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(connect(url))) for _ in range(count)]
        for one in connections:
            one.sendall(sent)
        yield connections


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{"], ids=["nothing", "headers", "body"])
def test_a_worker_finds_room_beside_idle_connections(sent):
    with serving(MEMR_MAX_CONNECTIONS="40", MEMR_MAX_PEER_CONNECTIONS="20") as url, held(url, 60, sent):
        assert [reward(url) for _ in range(5)] == [200] * 5


def test_a_connection_beyond_the_limit_gets_a_503_where_all_others_wait_for_responses():
    with serving(MEMR_MAX_PEER_CONNECTIONS="3") as url:
        httpx.put(f"{url}/runs/run", json={"barrier": "step", "barrier_timeout_s": 30}).raise_for_status()
        body = json.dumps(BODY | {"step": 1, "part": 0, "parts": 2}).encode()
        waiting = [HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)] * 3
        with ExitStack() as stack:
            for one in waiting:
                stack.enter_context(closing(connect(url))).sendall(one)
            time.sleep(1)
            with connect(url) as refused:
                status, document = problem(until_closed(refused)[0])
        assert (status, document["type"], document["limit"]) == (503, "urn:memr:problem:overloaded", 3)
        time.sleep(0.5)
        assert httpx.get(f"{url}/livez").status_code == 200


def test_512_workers_of_one_address_are_served():
    with serving() as url, httpx.Client(limits=httpx.Limits(max_connections=None)) as client:
        client.put(f"{url}/runs/run", json={"barrier": "step", "barrier_timeout_s": 60}).raise_for_status()
        body = [json.dumps(BODY | {"step": 1, "part": part, "parts": 512}).encode() for part in range(512)]
        with ExitStack() as stack:
            workers = [stack.enter_context(closing(connect(url, 60))) for _ in body]
            for worker, one in zip(workers, body, strict=True):
                worker.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(one), one))
            assert {worker.recv(12) for worker in workers} == {b"HTTP/1.1 200"}


def test_the_limit_on_open_files_is_raised_for_connections_and_bounds_them():
    program = """
import resource, sys
from memr_service.app.connections import Connections
from memr_service.settings import Settings
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
made = Connections(Settings(max_connections=wanted), 75, lambda status, refused: None)
print(made.all.most, made.most_of_peer, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""

    def tried(*limits):
        command = [sys.executable, "-c", program, *map(str, limits)]
        return [*map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())]

    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 2048
    assert tried(512, 2048, 1000) == [1000, 640, 1000 + OWN_FILES]
    assert tried(512, 1024, 4096) == [1024 - OWN_FILES, (1024 - OWN_FILES) * 3 // 4, 1024]
    assert tried(2048, 2048, 400) == [400, 300, 2048]
