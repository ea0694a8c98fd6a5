"""What is Redis's own about the shared store: addresses, checks at start, failures, failover."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest, StoreFull, Unavailable
from memr_service.store import open_store
from memr_service.store.base import AlreadyAnswered, Moved, NewResponse, Snapshot, StoredRecord
from memr_service.store.redis import RedisStore, backoff, journal
from memr_service.store.redis.backoff import Backoff
from memr_service.store.redis.server import Server
from redis.sentinel import Sentinel
from support.redis_server import RedisServer, free_port, fresh, wait_for
from support.redis_stores import WHEN, make, opened, record

SLOTS = 16384


@pytest.fixture
def store() -> Iterator[RedisStore]:
    with opened(fresh()) as one:
        yield one


def response(request_id: str) -> NewResponse:
    return NewResponse(request_id, b"digest", b"response")


def positions(store: RedisStore, uid: int) -> list[int]:
    return [one.position for one in store.journal.records(uid, [(0, 0, 2**62)])]


# Addresses and checks


@pytest.mark.parametrize(
    "wrong",
    [
        "redis:",
        "redis+other://host",
        "redis://host?wait=many",
        "redis://host?wait=-1",
        "redis://host?timeout=3",
        "redis://host?prefix=",
        "redis://host?prefix={a}",
        "redis+sentinel://host:26379",
    ],
)
def test_an_address_that_is_not_understood_is_refused_with_the_forms_there_are(wrong: str) -> None:
    with pytest.raises(InvalidRequest, match=r"redis\+cluster://host:6379"):
        open_store(wrong)


def test_a_password_is_used_and_never_shown() -> None:
    with RedisServer("--requirepass", "open sesame") as server:
        url = server.url.replace("//", "//:open%20sesame@")
        with opened(url) as store:
            make(store)
            assert store.url == server.url
        with pytest.raises(Unavailable) as refused:
            open_store(url.replace("open", "close"))
        assert "sesame" not in f"{refused.value.document()}"


def test_a_server_that_evicts_keys_is_refused() -> None:
    with RedisServer("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        with pytest.raises(Unavailable, match="evict") as refused:
            open_store(server.url)
        assert (refused.value.value, refused.value.limit) == ("allkeys-lru", "noeviction")


def test_a_server_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "_infos", lambda _: [{"redis_version": "6.0.16", "maxmemory_policy": "noeviction"}])
    with pytest.raises(Unavailable, match=r"Redis 6\.0\.16"):
        open_store(fresh())


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable) as refused:
        open_store(f"redis://127.0.0.1:{free_port()}/0")
    assert refused.value.retry_after == 1


def test_stores_with_different_prefixes_do_not_see_each_other() -> None:
    with opened(fresh()) as one, opened(fresh()) as other:
        make(one)
        assert other.runs.all() == []
        make(other)


# Commits


def test_a_record_whose_parent_is_not_the_last_one_is_refused(store: RedisStore) -> None:
    run = make(store)
    store.journal.commit(run.uid, record(1, "", "a"))
    with pytest.raises(Moved):
        store.journal.commit(run.uid, record(2, "b", "c"))
    store.journal.commit(run.uid, record(2, "a", "c"))
    assert store.shared.tip(run.uid).chain == b"c"
    assert store.shared.conflicts == 1


def test_a_request_that_another_process_answered_is_told_apart(store: RedisStore) -> None:
    run = make(store)
    with opened(f"{store.url}") as other:
        store.journal.commit(run.uid, record(1, "", "a"), [response("id")])
        with pytest.raises(AlreadyAnswered):
            other.journal.commit(run.uid, record(1, "", "a"), [response("id")])
        with pytest.raises(Moved):
            other.journal.commit(run.uid, record(1, "", "a"), [response("another")])
        assert other.responses.find(run.uid, "another") == []
        other.journal.commit(run.uid, record(2, "a", "b"), [response("another")])
    assert positions(store, run.uid) == [1, 2]


@pytest.mark.parametrize("segment_bytes", [1, 1 << 20])
def test_a_commit_whose_answer_was_lost_is_not_made_twice(monkeypatch: pytest.MonkeyPatch, segment_bytes: int) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", segment_bytes)
    with RedisServer() as server, cutting(server.port) as (port, cut), opened(f"redis://127.0.0.1:{port}/0") as store:
        run = make(store)
        store.journal.commit(run.uid, record(1, "", "a"))
        cut.set()
        store.journal.commit(run.uid, record(2, "a", "b"))  # without a request id
        assert not cut.is_set()
        store.journal.commit(run.uid, record(3, "b", "c"))
        assert positions(store, run.uid) == [1, 2, 3]
        assert store.shared.conflicts == 0


@contextmanager
def cutting(port: int) -> Iterator[tuple[int, threading.Event]]:
    """A port that leads to another; once the event is set, the next command arrives and its answer does not."""
    cut = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=pass_on, args=(client,), daemon=True).start()

    def pass_on(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as upstream:
            threading.Thread(target=send, args=(client, upstream), daemon=True).start()
            while answer := upstream.recv(1 << 16):
                if cut.is_set():
                    cut.clear()
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(answer)

    def send(client: socket.socket, upstream: socket.socket) -> None:
        try:
            while command := client.recv(1 << 16):
                upstream.sendall(command)
            upstream.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other side was cut

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        yield listener.getsockname()[1], cut
        listener.shutdown(socket.SHUT_RDWR)


def test_whoever_lost_often_is_let_go_first(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "TURN_MS", 60_000)
    waiting, wait, refused = threading.Event(), Backoff.wait, []

    def noted(self: Backoff) -> None:
        waiting.set()
        wait(self)

    def come_first() -> None:
        try:
            store.journal.commit(run.uid, record(backoff.PATIENCE + 1))
        except Moved as error:
            refused.append(error)

    monkeypatch.setattr(Backoff, "wait", noted)
    run = make(store)
    with opened(store.url) as other:
        for position in range(1, backoff.PATIENCE + 1):
            store.journal.commit(run.uid, record(position))
            with pytest.raises(Moved):
                other.journal.commit(run.uid, record(position, size=999))
        first = threading.Thread(target=come_first)
        first.start()
        assert waiting.wait(10)
        other.journal.commit(run.uid, record(backoff.PATIENCE + 1))
        first.join()
        assert len(refused) == 1
        store.journal.commit(run.uid, record(backoff.PATIENCE + 2))  # the turn is over
        assert len(positions(store, run.uid)) == backoff.PATIENCE + 2


def test_a_full_server_refuses_whole_records_and_goes_on_when_there_is_room() -> None:
    with RedisServer("--maxmemory", "8mb") as server, opened(server.url) as store:
        run = make(store)
        sizes = iter([1 << 18] * 100)

        def fill() -> None:
            for position, size in enumerate(sizes, 1):
                store.journal.commit(run.uid, record(position, size=size), [response(f"id {position}")])

        with pytest.raises(StoreFull):
            fill()
        committed = store.shared.tip(run.uid).position
        assert 10 < committed < 50
        assert positions(store, run.uid) == list(range(1, committed + 1))
        assert store.responses.find(run.uid, f"id {committed + 1}") == []
        server.client().config_set("maxmemory", "1mb")
        with pytest.raises(Unavailable):
            store.check()
        server.client().config_set("maxmemory", "100mb")
        store.check()
        store.journal.commit(run.uid, record(committed + 1), [response(f"id {committed + 1}")])
        assert positions(store, run.uid) == list(range(1, committed + 2))


def test_a_run_can_be_deleted_from_a_full_server() -> None:
    with RedisServer("--maxmemory", "8mb") as server, opened(server.url) as store:
        run = make(store)
        for position in range(1, 5):
            store.journal.commit(run.uid, record(position, size=1 << 18), [response(f"id {position}")])
        server.client().config_set("maxmemory", "1mb")
        with pytest.raises(StoreFull):
            store.journal.commit(run.uid, record(5, size=1 << 18), [response("id 5")])
        store.runs.delete(run.uid)
        assert store.runs.all() == []
        server.client().config_set("maxmemory", "8mb")
        again = make(store)
        store.journal.commit(again.uid, record(1, size=1 << 18), [response("id 1")])


# Kills and failover


def test_a_server_that_writes_always_loses_nothing_when_it_is_killed() -> None:
    with (
        RedisServer("--appendonly", "yes", "--appendfsync", "always") as server,
        opened(server.url) as store,
    ):
        run = make(store)
        acknowledged: list[int] = []

        def write() -> None:
            try:
                for position in range(1, 10_000):
                    store.journal.commit(run.uid, record(position), [response(f"id {position}")])
                    acknowledged.append(position)
            except Unavailable:
                return

        writer = threading.Thread(target=write)
        writer.start()
        wait_for(lambda: len(acknowledged) > 20)
        server.kill()
        writer.join()
        with pytest.raises(Unavailable):
            store.check()
        server.start()
        store.check()
        kept = positions(store, run.uid)
        assert kept == list(range(1, len(kept) + 1))
        assert len(acknowledged) <= len(kept) <= len(acknowledged) + 1
        assert all(store.responses.find(run.uid, f"id {position}") for position in acknowledged)
        store.journal.commit(run.uid, record(len(kept) + 1))


def test_a_record_that_too_few_replicas_have_is_not_acknowledged() -> None:
    with (
        RedisServer() as server,
        RedisServer("--replicaof", "127.0.0.1", str(server.port)) as replica,
        opened(f"{server.url}?wait=1") as store,
    ):
        wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up")
        run = make(store)
        store.journal.commit(run.uid, record(1), [response("one")])
        replica.kill()
        with pytest.raises(Unavailable) as refused:
            store.journal.commit(run.uid, record(2), [response("two")])
        assert (refused.value.value, refused.value.limit, refused.value.retry_after) == (0, 1, 1)
        with pytest.raises(Unavailable):  # nor is it when it is asked for again
            store.responses.find(run.uid, "two")
        replica.start()
        wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up")
        assert len(store.responses.find(run.uid, "two")) == 1
        assert store.shared.tip(run.uid).position == 2


def test_sentinels_lead_to_the_new_primary() -> None:
    with RedisServer() as server, RedisServer("--replicaof", "127.0.0.1", str(server.port)) as replica:
        wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up")
        config = f"""
            sentinel monitor primary 127.0.0.1 {server.port} 1
            sentinel down-after-milliseconds primary 300
            sentinel failover-timeout primary 2000
        """
        with RedisServer("--sentinel", config=config) as sentinel:
            url = f"redis+sentinel://127.0.0.1:{sentinel.port}/primary"
            wait_for(lambda: Sentinel([("127.0.0.1", sentinel.port)]).discover_slaves("primary"))
            with opened(f"{url}?wait=1") as store:
                run = make(store)
                store.journal.commit(run.uid, record(1), [response("one")])
            with opened(url) as store:
                server.kill()
                wait_for(lambda: taken(store, run.uid, record(2)))
                assert positions(store, run.uid) == [1, 2]
                assert len(store.responses.find(run.uid, "one")) == 1


def taken(store: RedisStore, uid: int, record: StoredRecord) -> bool:
    try:
        store.journal.commit(uid, record)
    except Unavailable:
        return False
    return True


def use_all_of_it(store: RedisStore) -> None:
    """Every script and every kind of key."""
    uids = set()
    for name in ("one", "two", "three", "four"):
        run = make(store, name)
        uids.add(run.uid)
        store.runs.replace(run.uid, '{"k":1}', None)
        for position in range(1, 6):
            store.journal.commit(run.uid, record(position), [response(f"id {position}")])
            store.responses.amend(run.uid, f"id {position}", b"amended")
        store.snapshots.save(run.uid, Snapshot(0, 5, {}))
        assert store.snapshots.load(run.uid, 0, 5) is not None
        assert positions(store, run.uid) == [1, 2, 3, 4, 5]
        assert store.journal.add_branch(run.uid, 0, 2) == 1
        assert store.responses.find(run.uid, "id 5")[0].response == b"amended"
        assert len(list(store.journal.columns(run.uid, [(0, 0, 9)]))) == 5
        store.journal.trim(run.uid, [(0, 0, 2**62)], 5)
    assert store.size() > 0
    store.check()
    for uid in uids:
        store.runs.delete(uid)
    assert store.runs.all() == []


def test_a_cluster_serves_as_one_server_does() -> None:
    with RedisServer("--cluster-enabled", "yes") as a, RedisServer("--cluster-enabled", "yes") as b:
        nodes = [a.client(), b.client()]
        for number, node in enumerate(nodes):
            node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.execute_command("CLUSTER", "ADDSLOTS", *range(number * SLOTS // 2, (number + 1) * SLOTS // 2))
        nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", b.port)
        for node in nodes:
            wait_for(partial(cluster_is_whole, node))
        with opened(a.url.replace("redis:", "redis+cluster:").removesuffix("/0")) as store:
            use_all_of_it(store)


def cluster_is_whole(node: Any) -> bool:
    info = node.execute_command("CLUSTER INFO")
    return bool(info["cluster_state"] == "ok" and info["cluster_size"] == "2")


# Room, and what takes it


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_snapshot_is_passed_over(store: RedisStore, damage: str) -> None:
    run = make(store)
    arrays = {"rows": np.random.default_rng(0).normal(size=(400, 800))}  # more than a piece
    store.snapshots.save(run.uid, Snapshot(0, 1, arrays))
    kept = store.snapshots.load(run.uid, 0, 1)
    assert kept is not None
    assert np.array_equal(kept.arrays["rows"], arrays["rows"])
    piece = store._server.key(run.uid, "snapshot:0-1:1")
    if damage == "changed":
        store._server.client.setrange(piece, 500, b"?")
    else:
        store._server.client.delete(piece)
    assert store.snapshots.load(run.uid, 0, 1) is None


def test_a_bounded_journal_drops_whole_segments_and_counts_what_is_left(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 2500)
    run = make(store)
    for position in range(1, 11):
        store.journal.commit(run.uid, record(position))
    assert store.journal.size(run.uid) == 10_000
    store.journal.trim(run.uid, [(0, 0, 7)], 7)
    assert store.shared.tip(run.uid).run.base == 7
    assert store.journal.size(run.uid) == 4000
    assert [one.position for one in store.journal.records(run.uid, [(0, 7, 99)])] == [8, 9, 10]
    with pytest.raises(Unavailable, match="record 1 "):
        list(store.journal.records(run.uid, [(0, 0, 99)]))


def test_a_deleted_run_and_one_that_was_never_finished_leave_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    url = fresh()
    with opened(url) as store:
        client, prefix = store._server.client, store._server.prefix
        run = make(store)
        for position in range(1, 4):
            store.journal.commit(run.uid, record(position))
        store.snapshots.save(run.uid, Snapshot(0, 3, {}))
        store.runs.delete(run.uid)
        half = store.runs._begin("half", "{}", 1, None, WHEN, 0)
        store.journal.commit(half, record(1))
    monkeypatch.setattr("memr_service.store.redis.runs.DOOMED_AFTER_S", 0.0)
    with opened(url) as store:
        client = store._server.client
        assert [*client.scan_iter(f"{prefix}:*")] == [f"{prefix}:uid".encode()]
