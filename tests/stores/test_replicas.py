"""Several services over one store: any of them serves any run, and nothing is lost, doubled or scored differently."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from memr_client.errors import Conflict, Unavailable, UnknownRun
from memr_service.memory import GraphSizes
from memr_service.state.state import State
from memr_service.store import open_store
from memr_service.store.base import Snapshot
from memr_service.store.redis import RedisStore, journal
from memr_service.store.redis.journal import RedisJournal
from memr_service.store.redis.snapshots import RedisSnapshots
from redis import Redis
from support.histories import World, ask_service
from support.in_process import InProcess
from support.redis_server import RedisServer, fresh
from support.requests import batch

CONFIG = {"explore_warmup_steps": 2, "max_prompts": 4, "max_completions": 3, "window": 9, "k": 2}


@contextmanager
def replicas(url: str, count: int = 2, **settings: Any) -> Iterator[list[InProcess]]:
    with ExitStack() as opened:
        yield [opened.enter_context(InProcess(url, **settings)) for _ in range(count)]


@pytest.fixture
def url() -> str:
    return fresh()


def untimed(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "timing_ms"}


def copy_of(url: str) -> Callable[[], None]:
    """Remember a store as it is; calling the result brings it back, as a failover to a stalled replica does."""
    store = open_store(url)
    assert isinstance(store, RedisStore)
    prefix, client = store._server.prefix, Redis.from_url(url.partition("?")[0])
    kept = {key: client.dump(key) for key in client.scan_iter(f"{prefix}:*")}
    store.close()

    def bring_back() -> None:
        for key in client.scan_iter(f"{prefix}:*"):
            client.delete(key)
        for key, value in kept.items():
            client.restore(key, 0, value)

    return bring_back


def test_replicas_that_take_turns_answer_as_one_service_does(url: str) -> None:
    worlds = [World(3), World(3)]
    with InProcess("memory:") as alone, replicas(url, 3) as services:
        for one in (alone, services[0]):
            one.create("run", **CONFIG)
        for turn in range(40):
            expected, asked = (world.request() for world in worlds)
            answer = ask_service(services[turn % 3], "run", asked)
            assert untimed(answer) == untimed(ask_service(alone, "run", expected))
        assert len({service.info("run").digest for service in [alone, *services]}) == 1


def test_writers_who_race_lose_nothing_and_double_nothing(url: str) -> None:
    answers: dict[str, dict[str, Any]] = {}

    def write(service: InProcess, writer: int) -> None:
        for number in range(15):
            request_id = f"{writer}-{number}"
            answers[request_id] = service.reward(**batch(20 * writer + number, request_id=request_id))

    with replicas(url, 3) as services:
        services[0].create("run", **CONFIG)
        writers = [threading.Thread(target=write, args=(service, at)) for at, service in enumerate(services)]
        for one in writers:
            one.start()
        for one in writers:
            one.join()
        assert sorted(answer["position"] for answer in answers.values()) == list(range(1, 46))
        assert len({service.info("run").digest for service in services}) == 1
        for writer in range(3):  # a retry finds its answer wherever it goes
            again = services[(writer + 1) % 3].reward(**batch(20 * writer, request_id=f"{writer}-0"))
            assert untimed(again) == untimed(answers[f"{writer}-0"])
        ended = services[0].info("run")
    with InProcess("memory:") as alone:  # the same requests one after the other
        alone.create("run", **CONFIG)
        for request_id in sorted(answers, key=lambda one: answers[one]["position"]):
            writer, number = map(int, request_id.split("-"))
            asked = batch(20 * writer + number, request_id=request_id)
            assert untimed(alone.reward(**asked)) == untimed(answers[request_id])
        assert (alone.info("run").chain, alone.info("run").digest) == (ended.chain, ended.digest)


def test_a_request_id_that_two_replicas_get_at_once_counts_once(url: str) -> None:
    found: list[dict[str, Any]] = []
    with replicas(url, 2) as services:
        services[0].create("run", **CONFIG)
        for number in range(10):
            start = threading.Barrier(2)

            def ask(service: InProcess, number: int = number, start: threading.Barrier = start) -> None:
                start.wait()
                found.append(untimed(service.reward(**batch(number))))

            both = [threading.Thread(target=ask, args=(service,)) for service in services]
            for one in both:
                one.start()
            for one in both:
                one.join()
            assert found[-1] == found[-2]
        assert services[0].info("run").position == services[1].info("run").position == 10


def test_a_lost_race_is_scored_again_without_encoding_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with replicas(url, 2) as (one, other):
        one.create("run", **CONFIG)
        one.reward(**batch(0, embeddings=None))
        commit, encoded = RedisJournal.commit, []
        embed = one._service.embedding.batch

        async def counted(*given: Any) -> Any:
            encoded.append(given)
            return await embed(*given)

        def late(self: RedisJournal, *given: Any) -> None:
            monkeypatch.setattr(RedisJournal, "commit", commit)
            other.reward(**batch(1, embeddings=None))
            commit(self, *given)

        monkeypatch.setattr(one._service.embedding, "batch", counted)
        monkeypatch.setattr(RedisJournal, "commit", late)
        assert one.reward(**batch(2, embeddings=None))["position"] == 3
        assert len(encoded) == 1
        assert one.store.shared.conflicts == 1
        assert one.info("run").digest == other.info("run").digest


def test_a_replica_sees_what_another_has_done_to_a_run(url: str) -> None:
    with replicas(url, 2) as (one, other):
        one.create("run", k=1)
        assert other.create("run", k=3).config.k == 3  # before its first record
        assert one.info("run").config.k == 3
        one.reward(**batch(0))
        with pytest.raises(Conflict):
            other.create("run", k=4)
        one.checkpoint("run", "start")
        other.reward(**batch(1))
        assert one.restore("run", "start").branch == 1
        assert (other.info("run").branch, other.info("run").position) == (1, 1)
        assert other.reward(**batch(1))["position"] == 2
        assert one.info("run").digest == other.info("run").digest
        other.delete("run")
        with pytest.raises(UnknownRun):
            one.info("run")
        assert one.reward(**batch(2))["position"] == 1
        assert other.info("run").position == 1


def test_a_commit_that_was_prepared_under_a_config_since_replaced_is_made_anew(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with replicas(url, 2) as (one, other):
        one.create("run", components={"exploit": 1.0})
        commit = RedisJournal.commit

        def late(self: RedisJournal, *given: Any) -> None:
            monkeypatch.setattr(RedisJournal, "commit", commit)
            other.create("run", components={"explore": 1.0})
            commit(self, *given)

        monkeypatch.setattr(RedisJournal, "commit", late)
        assert one.reward(**batch(0))["components"].keys() == {"explore"}


@pytest.mark.parametrize("regrown", [0, 2, 3, 5])
def test_lost_records_are_noticed_counted_and_lived_with(url: str, regrown: int) -> None:
    """The store goes back three records and takes others, before or after the first replica asks again."""
    with replicas(url, 2) as (one, other):
        one.create("run", **CONFIG)
        for number in range(5):
            one.reward(**batch(number))
        bring_back = copy_of(url)
        for number in range(5, 8):
            one.reward(**batch(number))
        bring_back()
        for number in range(100, 100 + regrown):
            other.reward(**batch(number))
        assert one.reward(**batch(50))["position"] == 5 + regrown + 1
        assert one._service.registry.rewinds == 1
        assert other._service.registry.rewinds == 0
        assert one.info("run").digest == other.info("run").digest


def test_a_snapshot_of_records_that_were_lost_is_passed_over(url: str) -> None:
    with replicas(url, 1, snapshot_bytes=1 << 16) as (one,):
        one.create("run", **CONFIG)
        bring_back = copy_of(url)
        for number in range(5):
            one.reward(**batch(number))
        run = one._service.registry._open["run"]
        lost = run.live._frozen()
        bring_back()
        one.store.snapshots.save(run.uid, lost)  # by a process that does not know yet
    with InProcess(url) as later:
        assert later.info("run").position == 0
        assert later.reward(**batch(9))["position"] == 1


def test_a_run_is_read_from_its_snapshot_and_the_records_after_it(url: str) -> None:
    with replicas(url, 1, snapshot_bytes=1 << 16) as (one,):
        one.create("run", **CONFIG)
        for number in range(60):
            one.reward(**batch(number))
        before = one.info("run")
        run = one._service.registry._open["run"]
        assert one.store.snapshots.kept(run.uid)
    with InProcess(url) as later:
        assert later.info("run") == before


def graphs_of(service: InProcess) -> dict[str, list[list[int]]]:
    indices = service._service.registry._open["run"].state.indexes.all()
    return {name: [graph.numbers.tolist() for graph in index.graphs] for name, index in indices.items()}


def test_graphs_are_built_once_for_all_who_open_the_run_later(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memr_service.run.live_state.State", partial(State, graph_sizes=GraphSizes(12, 6)))
    config = {"components": {"value": 1.0}, "explore_warmup_steps": 0, "k": 3}
    with replicas(url, 1, snapshot_bytes=1 << 16) as (one,):
        one.create("run", **config)
        for number in range(60):
            one.reward(**batch(number))
            one._service._background.submit(int).result()
        digest = one.info("run").digest  # for which the last record is applied
        graphs = graphs_of(one)
        assert any(graphs.values())
    for module in ("run.index_builds", "state.index_set"):
        monkeypatch.delattr(f"memr_service.{module}.build")  # whoever builds one fails
    with InProcess(url) as later:
        assert later.info("run").digest == digest
        assert graphs_of(later) == graphs
        later.delete("run")
    with Redis.from_url(url.partition("?")[0]) as client:
        assert not list(client.scan_iter(f"{url.partition('prefix=')[2]}:*graph*"))


def test_one_replica_takes_a_snapshot_for_all(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = RedisSnapshots.save

    def counted(self: RedisSnapshots, uid: int, snapshot: Snapshot) -> None:
        saved.append(snapshot.position)
        save(self, uid, snapshot)

    monkeypatch.setattr(RedisSnapshots, "save", counted)
    with replicas(url, 3, snapshot_bytes=1 << 16) as services:
        services[0].create("run", **CONFIG)
        for number in range(60):
            services[number % 3].reward(**batch(number))
            for service in services:
                service._service._background.submit(int).result()  # what runs in the background is done
        assert 2 <= len(saved) <= 4
        assert len(services[0].store.snapshots.kept(services[0]._service.registry._open["run"].uid)) == 2
        size = services[0].store.journal.size(services[0]._service.registry._open["run"].uid)
        assert len(saved) <= size / (1 << 16)


def test_a_service_is_ready_while_its_store_is() -> None:
    with RedisServer() as server, InProcess(server.url) as service:
        assert service._wait_for(service._service.ready()) == {}
        service.reward(**batch(0))
        server.kill()
        assert service._wait_for(service._service.ready()).keys() == {"store"}
        with pytest.raises(Unavailable):
            service.reward(**batch(1))
        server.start()
        assert service._wait_for(service._service.ready()) == {}


def test_an_idle_run_leaves_memory_and_comes_back(url: str) -> None:
    with replicas(url, 1, idle_minutes=1e-9) as (one,):
        for name in ("run", "other"):
            one.create(name, **CONFIG)
            one.reward(**batch(0, run_id=name))
        assert one._service.runs.open_names() == ["other"]
        assert one.reward(**batch(1))["position"] == 2
        assert one._service.runs.open_names() == ["run"]


def test_a_long_journal_lies_in_several_keys_and_is_read_as_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 20_000)
    with replicas(url, 2) as (one, other):
        one.create("run", **CONFIG)
        for number in range(30):
            (one, other)[number % 2].reward(**batch(number))
        uid = one._service.registry._open["run"].uid
        segments = one.store.journal.segments(uid)
        assert len(segments) > 3
        assert [record.position for record in one.store.journal.records(uid, [(0, 0, 99)])] == list(range(1, 31))
        assert [record.position for record in one.store.journal.records(uid, [(0, 9, 21)])] == list(range(10, 22))
        assert [row.position for row in one.history("run")] == list(range(1, 31))
    with InProcess(url) as later:
        assert later.info("run").position == 30
