"""What every store promises, whatever it keeps its bytes in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from memr_client.errors import Conflict, InternalError, InvalidRequest, UnknownRun
from memr_service.store import open_store
from memr_service.store.base import Branch, NewResponse, Snapshot, StoredRecord, StoredResponse, StoredRun, restored
from memr_service.store.capabilities import Store
from support.redis_server import fresh

WHEN = "2025-11-21T08:00:00+00:00"
TO_THE_END = 2**62

# How to address each kind of store, given an empty directory; and those of them that outlive the process.
STORES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda directory: f"sqlite:///{directory}/data",
    "memory": lambda directory: "memory:",
    "redis": lambda directory: fresh(),
}
DURABLE = ["sqlite", "redis"]


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return STORES[request.param](tmp_path)


@pytest.fixture(params=DURABLE)
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return STORES[request.param](tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


def make_run(store: Store, name: str = "run") -> StoredRun:
    return store.runs.create(name, '{"k":1}', 1, '{"name":"hashed"}', WHEN)


def payload(position: int) -> bytes:
    return np.random.default_rng(position).bytes(1000 + position)


def response(position: int) -> NewResponse:
    return NewResponse(f"id-{position}", b"digest", b"response")


def fill(store: Store, uid: int, upto: int, after: int = 0, branch: int = 0) -> None:
    for position in range(after + 1, upto + 1):
        store.journal.commit(
            uid,
            StoredRecord(branch, position, payload(position)),
            [response(position)],
        )


def positions(store: Store, uid: int, branch: int = 0) -> list[int]:
    found = list(store.journal.records(uid, [(branch, 0, TO_THE_END)]))
    assert all(record.payload == payload(record.position) for record in found)
    return [record.position for record in found]


def test_a_run_is_found_as_it_was_created(store: Store) -> None:
    run = make_run(store)
    other = store.runs.create("a-run", "{}", 2, None, WHEN)
    assert store.runs.find("run") == run == StoredRun(run.uid, "run", '{"k":1}', 1, '{"name":"hashed"}', WHEN)
    assert store.runs.all() == [other, run]
    assert store.runs.find("nobody") is None
    assert store.journal.branches(run.uid) == [Branch(0, None, 0)]


def test_a_name_can_be_taken_once(store: Store) -> None:
    run = make_run(store)
    with pytest.raises(Conflict, match="run 'run'"):
        make_run(store)
    assert store.runs.all() == [run]


def test_a_config_can_be_replaced_only_before_the_first_record(store: Store) -> None:
    run = make_run(store)
    store.runs.replace(run.uid, '{"k":2}', None)
    assert store.runs.find("run") == StoredRun(run.uid, "run", '{"k":2}', 1, None, WHEN)
    fill(store, run.uid, 1)
    with pytest.raises(Conflict, match="frozen"):
        store.runs.replace(run.uid, '{"k":3}', None)
    assert store.runs.find("run") == StoredRun(run.uid, "run", '{"k":2}', 1, None, WHEN)


def test_records_come_back_in_order_between_the_bounds_asked_for(store: Store) -> None:
    run = make_run(store)
    fill(store, run.uid, 5)
    assert positions(store, run.uid) == [1, 2, 3, 4, 5]
    assert [r.position for r in store.journal.records(run.uid, [(0, 2, 4)])] == [3, 4]
    assert list(store.journal.records(run.uid, [(0, 5, TO_THE_END)])) == []
    assert list(store.journal.records(run.uid, [])) == []


def test_a_lineage_is_read_across_its_branches(store: Store) -> None:
    run = make_run(store)
    fill(store, run.uid, 4)
    branch = store.journal.add_branch(run.uid, parent=0, start=2)
    fill(store, run.uid, 5, after=2, branch=branch)
    assert store.journal.branches(run.uid) == [Branch(0, None, 0), Branch(1, 0, 2)]
    found = [(r.branch, r.position) for r in store.journal.records(run.uid, [(0, 0, 2), (1, 2, TO_THE_END)])]
    assert found == [(0, 1), (0, 2), (1, 3), (1, 4), (1, 5)]
    assert [given.branch for given in store.responses.find(run.uid, "id-4")] == [0, 1]


def test_the_last_record_is_found_on_the_branch_that_has_it(store: Store) -> None:
    run = make_run(store)
    assert store.journal.last(run.uid, [(0, 0, TO_THE_END)]) is None
    fill(store, run.uid, 4)
    branch = store.journal.add_branch(run.uid, parent=0, start=2)
    lineage = [(0, 0, 2), (branch, 2, TO_THE_END)]
    for position, on in ((2, 0), (3, branch)):
        last = store.journal.last(run.uid, lineage)
        assert last is not None
        assert (last.branch, last.position, last.payload) == (on, position, payload(position))
        if on == 0:
            fill(store, run.uid, 3, after=2, branch=branch)


def test_a_branch_cannot_leave_after_a_record_that_is_not_there(store: Store) -> None:
    run = make_run(store)
    fill(store, run.uid, 2)
    with pytest.raises(InternalError, match="no record 3"):
        store.journal.add_branch(run.uid, parent=0, start=3)
    assert store.journal.branches(run.uid) == [Branch(0, None, 0)]


@pytest.mark.parametrize("position", [0, 2, 4, 5, -1])
def test_a_record_that_does_not_follow_the_last_is_refused(store: Store, position: int) -> None:
    run = make_run(store)
    fill(store, run.uid, 2)
    with pytest.raises(InternalError, match="does not follow record 2") as refused:
        store.journal.commit(run.uid, StoredRecord(0, position, b"x"), [NewResponse("another", b"", b"")])
    assert refused.value.limit == 3
    assert store.responses.find(run.uid, "another") == []
    fill(store, run.uid, 3, after=2)
    assert positions(store, run.uid) == [1, 2, 3]


def test_a_record_for_an_unknown_run_or_branch_is_refused(store: Store) -> None:
    run = make_run(store)
    with pytest.raises(UnknownRun):
        store.journal.commit(run.uid + 1, StoredRecord(0, 1, b"x"))
    with pytest.raises(UnknownRun):
        store.journal.commit(run.uid, StoredRecord(1, 1, b"x"))


def test_a_request_id_is_answered_once_on_a_branch(store: Store) -> None:
    run = make_run(store)
    store.journal.commit(run.uid, StoredRecord(0, 1, payload(1)), [NewResponse("same", b"digest", b"first")])
    with pytest.raises(InternalError):
        store.journal.commit(run.uid, StoredRecord(0, 2, payload(2)), [NewResponse("same", b"digest", b"second")])
    assert [given.response for given in store.responses.find(run.uid, "same")] == [b"first"]
    assert store.responses.find(run.uid, "id-2") == []
    assert positions(store, run.uid) == [1]


def test_a_response_is_found_with_what_it_answered(store: Store) -> None:
    run, other = make_run(store), make_run(store, "other")
    given = [NewResponse("id", b"digest", b"response"), NewResponse("id of another part", b"digest 2", b"response 2")]
    store.journal.commit(run.uid, StoredRecord(0, 1, payload(1)), given)
    assert store.responses.find(run.uid, "id") == [StoredResponse(0, 1, b"digest", b"response")]
    assert store.responses.find(run.uid, "id of another part") == [StoredResponse(0, 1, b"digest 2", b"response 2")]
    assert store.responses.find(run.uid, "unknown id") == []
    assert store.responses.find(other.uid, "id") == []


def test_an_amended_response_is_given_at_once(store: Store) -> None:
    run = make_run(store)
    fill(store, run.uid, 2)
    store.responses.amend(run.uid, "id-1", b"with its time")
    store.responses.amend(run.uid, "unknown", b"nothing to amend")
    assert [given.response for given in store.responses.find(run.uid, "id-1")] == [b"with its time"]
    assert [given.response for given in store.responses.find(run.uid, "id-2")] == [b"response"]
    fill(store, run.uid, 3, after=2)
    assert [given.response for given in store.responses.find(run.uid, "id-1")] == [b"with its time"]


def test_a_run_is_restored_with_its_records_and_responses(store: Store) -> None:
    records = [(StoredRecord(0, p, payload(p)), [response(p)] if p > 1 else []) for p in (1, 2, 3)]
    run = restored(store.runs.restore("run", "{}", 1, None, WHEN, iter(records)))
    assert store.runs.find("run") == run
    assert positions(store, run.uid) == [1, 2, 3]
    assert [len(store.responses.find(run.uid, f"id-{p}")) for p in (1, 2, 3)] == [0, 1, 1]
    fill(store, run.uid, 4, after=3)
    with pytest.raises(Conflict):
        restored(store.runs.restore("run", "{}", 1, None, WHEN, iter(records)))
    assert positions(store, run.uid) == [1, 2, 3, 4]


def test_nobody_finds_a_run_that_is_not_whole_and_the_store_may_be_used_meanwhile(store: Store) -> None:
    large = bytes(3 << 20)
    records = [(StoredRecord(0, position, large), []) for position in (1, 2, 3)]
    parts = store.runs.restore("run", "{}", 1, None, WHEN, iter(records))
    for _ in records:
        assert next(parts) is None
        assert store.runs.find("run") is None
        assert "run" not in [one.run_id for one in store.runs.all()]
        store.runs.create(f"other-{len(store.runs.all())}", "{}", 1, None, WHEN)
    run = restored(parts)
    assert store.runs.find("run") == run
    assert [one.position for one in store.journal.records(run.uid, [(0, 0, TO_THE_END)])] == [1, 2, 3]


def test_a_name_that_was_taken_meanwhile_is_a_conflict(store: Store) -> None:
    parts = store.runs.restore("run", "{}", 1, None, WHEN, iter([(StoredRecord(0, 1, bytes(3 << 20)), [])]))
    assert next(parts) is None
    other = store.runs.create("run", "{}", 1, None, WHEN)
    with pytest.raises(Conflict):
        restored(parts)
    assert store.runs.all() == [other]


def test_a_run_whose_restoring_was_given_up_leaves_nothing(store: Store) -> None:
    size = store.size()
    records = [(StoredRecord(0, position, bytes(3 << 20)), []) for position in (1, 2)]
    parts = store.runs.restore("run", "{}", 1, None, WHEN, iter(records))
    assert next(parts) is None
    parts.close()
    while store.runs.reclaim():
        pass
    assert store.runs.all() == []
    assert store.size() < size + (1 << 20)


def test_a_run_that_cannot_be_restored_whole_is_not_there(store: Store) -> None:
    def records() -> Iterator[tuple[StoredRecord, list[NewResponse]]]:
        yield StoredRecord(0, 1, payload(1)), [response(1)]
        raise OSError("the upload broke off")

    with pytest.raises(OSError, match="broke off"):
        restored(store.runs.restore("run", "{}", 1, None, WHEN, records()))
    with pytest.raises(InternalError):
        restored(store.runs.restore("run", "{}", 1, None, WHEN, [(StoredRecord(0, 2, payload(2)), [])]))
    assert store.runs.all() == []
    fill(store, make_run(store).uid, 1)


def test_the_store_may_be_written_while_records_are_read(store: Store) -> None:
    run, other = make_run(store), make_run(store, "other")
    fill(store, run.uid, 3)
    seen = []
    for record in store.journal.records(run.uid, [(0, 0, TO_THE_END)]):
        seen.append(record.position)
        fill(store, other.uid, len(seen), after=len(seen) - 1)
        if len(seen) == 2:
            fill(store, run.uid, 4, after=3)
            with pytest.raises(InternalError):  # a transaction that is rolled back
                store.journal.commit(run.uid, StoredRecord(0, 9, b"x"))
    assert seen == [1, 2, 3, 4]
    assert positions(store, other.uid) == [1, 2, 3, 4]


def test_a_deleted_run_leaves_nothing_and_its_number_is_not_used_again(store: Store) -> None:
    run, other = make_run(store), make_run(store, "other")
    fill(store, run.uid, 2)
    fill(store, other.uid, 2)
    store.runs.delete(run.uid)
    store.runs.delete(other.uid)
    again = make_run(store)
    assert store.runs.all() == [again]
    assert again.uid not in (run.uid, other.uid)
    for uid in (run.uid, again.uid):
        assert positions(store, uid) == []
        assert store.responses.find(uid, "id-1") == []
        assert store.snapshots is None or store.snapshots.kept(uid) == []
    assert store.journal.branches(run.uid) == []


def test_deleting_one_run_leaves_the_others(store: Store) -> None:
    run, other = make_run(store), make_run(store, "other")
    fill(store, run.uid, 2)
    fill(store, other.uid, 3)
    store.runs.delete(run.uid)
    assert positions(store, other.uid) == [1, 2, 3]
    assert len(store.responses.find(other.uid, "id-3")) == 1


def test_a_store_that_can_be_written_passes_its_check_and_knows_its_size(store: Store) -> None:
    store.check()
    run = make_run(store)
    assert 0 < store.size() < 1 << 20
    store.journal.commit(run.uid, StoredRecord(0, 1, bytes(1 << 20)))
    assert store.size() > 1 << 20


def test_everything_is_there_again_after_a_restart(durable: str) -> None:
    store = open_store(durable)
    run = make_run(store)
    fill(store, run.uid, 3)
    store.responses.amend(run.uid, "id-3", b"amended")
    store.snapshots.save(run.uid, Snapshot(0, 2, {"vectors": np.eye(2, dtype=np.float32), "counts": np.arange(3)}))
    store.close()
    store.close()

    store = open_store(durable)
    assert store.runs.find("run") == run
    assert positions(store, run.uid) == [1, 2, 3]
    assert [given.response for given in store.responses.find(run.uid, "id-3")] == [b"amended"]
    (key,) = store.snapshots.kept(run.uid)
    snapshot = store.snapshots.load(run.uid, *key)
    assert snapshot is not None
    assert (snapshot.branch, snapshot.position) == key == (0, 2)
    assert snapshot.arrays.keys() == {"vectors", "counts"}
    assert np.array_equal(snapshot.arrays["vectors"], np.eye(2, dtype=np.float32))
    assert np.array_equal(snapshot.arrays["counts"], np.arange(3))
    assert snapshot.arrays["vectors"].dtype == np.float32
    assert store.journal.damages() == []
    fill(store, run.uid, 4, after=3)
    store.runs.delete(run.uid)
    store.close()

    store = open_store(durable)
    assert store.runs.all() == []
    assert make_run(store).uid > run.uid
    store.close()


def test_the_snapshot_where_a_restored_journal_begins_is_kept(durable: str) -> None:
    store = open_store(durable)
    records = [(StoredRecord(0, position, payload(position)), []) for position in (6, 7)]
    run = restored(store.runs.restore("run", "{}", 1, None, WHEN, records, Snapshot(0, 5, {"a": np.zeros(1)})))
    assert run.base == 5
    for position in (6, 7, 8):
        store.snapshots.save(run.uid, Snapshot(0, position, {"a": np.zeros(1)}))
    assert store.snapshots.kept(run.uid) == [(0, 8), (0, 7), (0, 5)]
    store.close()


def test_an_index_file_is_kept_with_those_beside_it_until_it_is_swept(durable: str) -> None:
    def write(file: Path) -> None:
        file.write_bytes(b"graph")
        file.with_suffix(".npy").write_bytes(b"numbers")

    store = open_store(durable)
    uid = make_run(store).uid
    for name in ("old.hnsw", "new.hnsw"):
        assert not store.index_files.find(uid, name).exists()
        store.index_files.save(uid, name, write)
    store.close()
    store = open_store(durable)
    store.index_files.sweep(uid, {"new"})
    assert not store.index_files.find(uid, "old.hnsw").exists()
    found = store.index_files.find(uid, "new.hnsw")
    assert (found.read_bytes(), found.with_suffix(".npy").read_bytes()) == (b"graph", b"numbers")
    store.close()


def test_each_kind_of_store_has_the_capabilities_that_it_should(url: str) -> None:
    store = open_store(url)
    alone, in_memory = not url.startswith("redis"), url == "memory:"
    assert (store.shared is None, store.leases is None) == (alone, alone)
    assert (store.snapshots is None, store.index_files is None) == (in_memory, in_memory)
    store.close()


def test_a_store_says_where_it_is(url: str) -> None:
    store = open_store(url)
    assert store.url == url
    store.close()


def test_a_relative_store_lies_below_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:///here/data").close()
    assert (tmp_path / "here" / "data" / "memr.db").is_file()


@pytest.mark.parametrize("wrong", ["", "sqlite:", "sqlite:///", "sqlite://data", "data", "memory", "mysql://host:3306"])
def test_an_address_no_store_has_is_refused_with_the_forms_there_are(wrong: str) -> None:
    with pytest.raises(InvalidRequest, match="no form that memr knows") as refused:
        open_store(wrong)
    assert refused.value.value == wrong
    assert "sqlite:////absolute/dir or memory:" in refused.value.limit
