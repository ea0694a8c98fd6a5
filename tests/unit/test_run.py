"""A run over a store: what it commits, what it leaves alone, and what it is after a restart."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest, ProblemError, StoreFull, Unavailable
from memr_client.schemas import RewardResponse
from memr_service.memory import GraphSizes
from memr_service.run import index_builds
from memr_service.run.live_state import Limits
from memr_service.run.run import Run, Submission
from memr_service.state import index_set
from memr_service.state.codec import seal, unseal
from memr_service.state.law import LAW
from memr_service.state.record import Batch, Record
from memr_service.state.state import State
from memr_service.store.base import Branch, NewResponse, Snapshot, StoredRecord
from memr_service.store.lineage import lineage
from memr_service.store.sqlite import SqliteStore
from memr_service.store.sqlite.journal import SqliteJournal
from support.batches import DIMENSION, config, make_batch, random_batch, unit_rows
from support.cases import slow_after
from support.runs import rewarded

NEVER = 1 << 60
"""Bytes of journal that no test reaches."""


class Later(Executor):
    """Background work that is done when a test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, Callable[[], None]]] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def job() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        self.jobs.append((function.__name__, job))
        return future

    def work(self, name: str = "") -> None:
        """Do what waits: everything, or what has this name."""
        doing = [one for one in self.jobs if name in one[0]]
        self.jobs = [one for one in self.jobs if name not in one[0]]
        for _, job in doing:
            job()


class Now(Later):
    """Background work that is done at once."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(function, *args, **kwargs)
        self.work()
        return future


class Failing(SqliteStore):
    """A store whose commits fail with `error`, while there is one."""

    def __init__(self, directory: Path | None) -> None:
        super().__init__(directory)
        self.error: BaseException | None = None
        self._commit = self.journal.commit
        self.journal.commit = self.commit  # type: ignore[method-assign]

    def commit(self, uid: int, record: StoredRecord, responses: Sequence[NewResponse] = ()) -> None:
        if self.error is not None:
            raise self.error
        self._commit(uid, record, responses)


def open_run(store: SqliteStore, background: Executor | None = None, snapshot_bytes: int = NEVER, **fields: Any) -> Run:
    """The run named "run", created if there is none."""
    stored = store.runs.find("run")
    if stored is None:
        stored = store.runs.create("run", config(**fields).model_dump_json(), LAW, None, "2025-01-01T00:00:00+00:00")
    return Run(stored, store, background or Now(), Limits(snapshot_bytes))


def batches(seed: int, count: int, prompts: int = 9) -> list[Batch]:
    rng = np.random.default_rng(seed)
    return [random_batch(rng, prompts, int(rng.integers(1, 9))) for _ in range(count)]


def reward(run: Run, batch: Batch, request_id: str | None = None, body: bytes = b"body") -> bytes:
    (response,) = rewarded(run, batch, [Submission(request_id, body)]).responses
    return response.body


def values(answer: bytes) -> dict[str, Any]:
    """An answer but its clock."""
    fields = json.loads(answer)
    del fields["timing_ms"]
    return dict(fields)


def everything(run: Run) -> Any:
    """All that an outsider can see of a run."""
    return run.info(digest=True).model_dump(), [record.payload for record in run.journal.records()]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def small_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs begin graphs after few prompts."""
    monkeypatch.setattr("memr_service.run.live_state.State", partial(State, graph_sizes=GraphSizes(12, 6)))


# The main path


def test_an_answer_is_a_reward_response_with_all_timings() -> None:
    run = open_run(SqliteStore(None))
    for batch in batches(0, 5):
        answer = RewardResponse.model_validate_json(reward(run, batch))
        assert len(answer.rewards) == len(batch)
        assert answer.position == run.state.position
        assert answer.chain == run.state.chain.hex()
        assert answer.memory.model_dump() == {
            side: {"prompts": size[0], "completions": size[1]} for side, size in run.state.sizes().items()
        }
        assert answer.timing_ms.score > 0
        assert answer.timing_ms.commit > 0
        assert answer.timing_ms.total > 0


def test_the_journal_holds_what_was_sent_and_answered() -> None:
    run = open_run(SqliteStore(None))
    sent = batches(1, 4)
    answers = [values(reward(run, batch, f"id {number}")) for number, batch in enumerate(sent)]
    records = [unseal(stored.payload) for stored in run.journal.records()]
    assert [record.position for record in records] == [1, 2, 3, 4]
    for batch, answer, record in zip(sent, answers, records, strict=True):
        assert record.effects.rewards.tolist() == answer["rewards"]
        assert record.chain.hex() == answer["chain"]
        np.testing.assert_array_equal(record.batch.completions, batch.completions)
        assert record.batch.keys == batch.keys
        assert [seat.request_id for seat in record.seats] == [f"id {record.position - 1}"]


def test_a_batch_of_another_dimension_is_refused_and_changes_nothing() -> None:
    run = open_run(SqliteStore(None))
    other = make_batch(["a"], unit_rows(np.random.default_rng(2), 1, 5), [1])
    assert RewardResponse.model_validate_json(run.evaluate(other, Submission()).body).rewards == [0]
    reward(run, batches(2, 1)[0])
    before = everything(run)
    for attempt in (lambda: reward(run, other), lambda: run.evaluate(other, Submission())):
        with pytest.raises(InvalidRequest) as caught:
            attempt()
        assert (caught.value.value, caught.value.limit) == (5, DIMENSION)
        assert caught.value.remedy
    assert everything(run) == before


@pytest.mark.parametrize("error", slow_after(1, [StoreFull("full"), Unavailable("down"), OSError("broken")]))
def test_a_failed_commit_leaves_everything_as_it_was_and_the_next_one_works(
    error: Exception, small_graphs: None
) -> None:
    store, twin = Failing(None), open_run(SqliteStore(None), max_prompts=30)
    run = open_run(store, max_prompts=30)
    for number, batch in enumerate(batches(3, 30, prompts=60)):
        if number % 3 == 2:
            before = everything(run)
            store.error = error
            with pytest.raises(type(error)):
                reward(run, batch, f"id {number}")
            store.error = None
            assert everything(run) == before
            assert run.journal.response(f"id {number}") is None
            if number % 2:
                continue
        assert values(reward(run, batch, f"id {number}")) == values(reward(twin, batch, f"id {number}"))
    assert run.state.memories["success"].prompts.graphs
    assert run.state.digest() == twin.state.digest()


def test_eval_reads_and_leaves_everything_as_it_was() -> None:
    run = open_run(SqliteStore(None), order="read_first")
    before = everything(run)
    sent = batches(4, 12)
    assert set(values(run.evaluate(sent[0], Submission("id")).body)["components"]["exploit"]["raw"]) == {None}
    assert everything(run) == before
    for batch in sent:
        before = everything(run)
        seen = values(run.evaluate(batch, Submission("id")).body)
        assert run.journal.response("id") is None
        assert everything(run) == before
        told = values(reward(run, batch))
        # read_first reads what eval reads
        assert [seen[name] for name in ("rewards", "components", "support")] == [
            told[name] for name in ("rewards", "components", "support")
        ]
        assert seen["position"] == told["position"] - 1


def test_a_request_id_is_answered_with_the_very_bytes_after_a_restart_too(directory: Path) -> None:
    store = SqliteStore(directory)
    run = open_run(store)
    answers = {f"id {number}": reward(run, batch, f"id {number}") for number, batch in enumerate(batches(5, 6))}
    assert run.journal.response("another") is None
    for opened in (run, None):
        if opened is None:
            store.close()
            store = SqliteStore(directory)
        run = opened or open_run(store)
        for position, (name, answer) in enumerate(answers.items(), 1):
            stored = run.journal.response(name)
            assert stored is not None
            assert (stored.response, stored.body_digest, stored.position) == (answer, b"body", position)
    store.close()


def test_several_requests_in_one_batch_get_their_own_items() -> None:
    one, other = open_run(SqliteStore(None)), open_run(SqliteStore(None))
    batch = make_batch(["a", "a", "b", "a"], unit_rows(np.random.default_rng(6), 4), [1, 0, 1, 0])
    whole = values(reward(one, batch))
    places = [[3, 0], [1], [2], []]
    committed = rewarded(
        other, batch, [Submission(str(number), items=np.array(items, np.int64)) for number, items in enumerate(places)]
    )
    assert committed.record is not None
    assert committed.record.chain == one.state.chain
    for number, (items, part) in enumerate(zip(places, committed.responses, strict=True)):
        answer = values(part.body)
        assert answer["rewards"] == [whole["rewards"][item] for item in items]
        for side, counts in answer["support"].items():
            assert counts == [whole["support"][side][item] for item in items]
        for name, columns in answer["components"].items():
            for column, of_items in columns.items():
                assert of_items == [whole["components"][name][column][item] for item in items]
        assert answer["guards"] == {"rejected": [[] for _ in items]}
        stored = other.journal.response(str(number))
        assert stored is not None
        assert stored.response == part.body


def test_no_items_are_answered_with_empty_lists_and_make_no_record() -> None:
    run = open_run(SqliteStore(None))
    for batch in [None, *batches(7, 2)]:
        if batch is not None:
            reward(run, batch)
        before = everything(run)
        answer = RewardResponse.model_validate_json(run.empty_response().body)
        assert answer.rewards == answer.support.success == answer.components["explore"].raw == []
        assert everything(run) == before


# Restarts


def restarted(run: Run, store: SqliteStore, directory: Path, snapshot_bytes: int = NEVER) -> tuple[Run, SqliteStore]:
    """The run as another process finds it."""
    store.close()
    again = SqliteStore(directory)
    return open_run(again, snapshot_bytes=snapshot_bytes), again


def read_positions(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Positions of the records that are read from now on."""
    read: list[int] = []
    original = SqliteJournal.records

    def spy(self: SqliteJournal, uid: int, spans: Sequence[tuple[int, int, int]]) -> Iterator[StoredRecord]:
        for record in original(self, uid, spans):
            read.append(record.position)
            yield record

    monkeypatch.setattr(SqliteJournal, "records", spy)
    return read


def test_a_record_is_applied_when_the_run_settles_and_only_once() -> None:
    run, twin = open_run(SqliteStore(None)), open_run(SqliteStore(None))
    for position, batch in enumerate(batches(7, 20), 1):
        run.reward(batch, [Submission()])
        assert run.state.position == position - 1  # the response does not wait
        for _ in range(2):
            run.live.settle()
            assert run.state.position == position
        reward(twin, batch)
    assert everything(run)[0] == everything(twin)[0]


def test_a_run_of_which_a_record_was_applied_in_part_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, record: object) -> None:
        raise AssertionError("a defect")

    run = open_run(SqliteStore(None))
    run.reward(batches(7, 1)[0], [Submission()])
    with monkeypatch.context() as patched:
        patched.setattr(State, "apply", broken)
        with pytest.raises(AssertionError, match="a defect"):
            run.live.settle()
    with pytest.raises(RuntimeError, match="read again"):
        run.live.settle()


def test_a_run_is_recovered_from_its_journal_alone(directory: Path) -> None:
    store = SqliteStore(directory)
    run, sent = open_run(store, max_prompts=5, max_completions=3), batches(8, 30)
    for batch in sent[:20]:
        reward(run, batch)
    before = everything(run)
    again, store = restarted(run, store, directory)
    assert store.snapshots.kept(run.uid) == []
    assert everything(again) == before
    twin = open_run(SqliteStore(None), max_prompts=5, max_completions=3)
    rewards = [values(reward(twin, batch)) for batch in sent]
    assert [values(reward(again, batch)) for batch in sent[20:]] == rewards[20:]
    store.close()


def test_snapshots_are_taken_and_a_restart_reads_only_what_came_after(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, later = SqliteStore(directory), Later()
    run = open_run(store, later, snapshot_bytes=20_000, max_prompts=5, max_completions=3)
    sent = iter(batches(9, 200))
    while not later.jobs:
        reward(run, next(sent))
        run.live.settle()
    position, digest = run.state.position, run.state.digest()
    for _ in range(3):
        reward(run, next(sent))  # the memory goes on while the snapshot waits to be written
    later.work()
    assert store.snapshots.kept(run.uid) == [(0, position)]
    snapshot = store.snapshots.load(run.uid, 0, position)
    assert snapshot is not None
    state = State(run.config)
    state.restore(0, position, snapshot.arrays)
    assert state.digest() == digest
    reward(run, next(sent))
    before = everything(run)
    read = read_positions(store, monkeypatch)
    again, store = restarted(run, store, directory)
    assert read == list(range(position + 1, run.state.position + 1))
    assert everything(again) == before
    store.close()


@pytest.mark.parametrize("damaged", slow_after(1, [1, 2]))
def test_damaged_snapshots_are_passed_over(directory: Path, damaged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(directory)
    run = open_run(store, snapshot_bytes=10_000)
    for batch in batches(10, 60):
        reward(run, batch)
    kept = store.snapshots.kept(run.uid)
    assert len(kept) == 2
    before = everything(run)
    for branch, position in kept[:damaged]:
        (file,) = directory.glob(f"snapshots/*/{branch}-{position}.state")
        bytes_ = bytearray(file.read_bytes())
        bytes_[len(bytes_) // 2] ^= 1
        file.write_bytes(bytes_)
    read = read_positions(store, monkeypatch)
    again, store = restarted(run, store, directory)
    assert read[0] == ([kept[1][1], 0][damaged - 1]) + 1
    assert everything(again) == before
    store.close()


def test_a_snapshot_that_cannot_be_written_is_tried_again_and_harms_nobody(
    directory: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(directory)

    def full(uid: int, snapshot: Snapshot) -> None:
        raise StoreFull("no room")

    run = open_run(store, snapshot_bytes=5_000)
    with monkeypatch.context() as patched:
        patched.setattr(store.snapshots, "save", full)
        for batch in batches(11, 20):
            reward(run, batch)
    assert "a snapshot of run run failed" in caplog.text
    assert store.snapshots.kept(run.uid) == []
    for batch in batches(12, 20):
        reward(run, batch)
    assert store.snapshots.kept(run.uid)
    before = everything(run)
    again, store = restarted(run, store, directory)
    assert everything(again) == before
    store.close()


def test_closing_leaves_a_snapshot_where_the_journal_has_grown(directory: Path) -> None:
    store = SqliteStore(directory)
    run = open_run(store, snapshot_bytes=1_000_000)
    run.live.close()
    assert store.snapshots.kept(run.uid) == []
    for batch in batches(13, 100):
        reward(run, batch)
    run.live.close()
    assert store.snapshots.kept(run.uid) == [(0, 100)]
    again, store = restarted(run, store, directory)
    assert again.state.digest() == run.state.digest()
    store.close()


@pytest.mark.slow
def test_closing_on_a_full_disk_leaves_no_snapshot_and_loses_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqliteStore(directory)
    run = open_run(store, snapshot_bytes=1_000_000)
    for batch in batches(13, 100):
        reward(run, batch)

    def full(uid: int, snapshot: object) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(store.snapshots, "save", full)
    run.live.close()
    assert "no room" in caplog.text
    again, store = restarted(run, store, directory)
    assert again.state.digest() == run.state.digest()
    store.close()


def test_a_journal_whose_records_do_not_follow_each_other_is_not_applied(directory: Path) -> None:
    store = SqliteStore(directory)
    run = open_run(store)
    for batch in batches(14, 3):
        reward(run, batch)
    last = [*run.journal.records()][-1]
    forged = unseal(last.payload)
    payload = seal(Record(0, 4, forged.batch, forged.effects, forged.first_serial, parent=b"\1" * 32))[1]
    store.journal.commit(run.uid, StoredRecord(0, 4, payload))
    with pytest.raises(Unavailable, match="inconsistent") as caught:
        open_run(store)
    assert caught.value.value == 4
    store.close()


# Graphs in the background


def test_a_graph_is_built_beside_and_taken_into_use_at_a_recorded_position(small_graphs: None) -> None:
    later = Later()
    run = open_run(SqliteStore(None), later)
    index_changes = []
    for number, batch in enumerate(batches(15, 60, prompts=200)):
        if number % 5 == 4:
            later.work()
        graphs = {side: len(memory.prompts.graphs) for side, memory in run.state.memories.items()}
        record = rewarded(run, batch, [Submission()]).record
        assert record is not None
        for change in record.effects.index_changes:
            index_changes.append((number, change.index, change.change, change.start, change.stop))
        swapped = {change.index for change in record.effects.index_changes if change.change == "swap"}
        for side, before in graphs.items():
            if side not in swapped:
                assert len(run.state.memories[side].prompts.graphs) == before
    for side in ("success", "failure"):
        mine = [change for change in index_changes if change[1] == side]
        assert [change[2] for change in mine] == (["build", "swap"] * len(mine))[: len(mine)]
        assert len(mine) > 4
        for begun, swapped in zip(mine[::2], mine[1::2], strict=False):
            assert begun[3:] == swapped[3:]
            assert swapped[0] % 5 == 4  # not before it was ready


@pytest.mark.slow
@pytest.mark.parametrize("files", ["kept", "lost", "of another history"])
@pytest.mark.parametrize("snapshot_bytes", [NEVER, 4_000])
@pytest.mark.parametrize("components", [{"exploit": 1.0, "explore": 1.0}, {"value": 1.0}])
def test_a_replayed_run_has_the_same_graphs_and_gives_bit_equal_rewards(
    directory: Path, files: str, snapshot_bytes: int, components: dict[str, float], small_graphs: None
) -> None:
    later, sent = Later(), batches(16, 90, prompts=150)
    store = SqliteStore(directory)
    limits = {"max_prompts": 40 if files == "kept" else 100_000, "max_completions": 3}
    run = open_run(store, later, snapshot_bytes, components=components, k=3, **limits)
    for number, batch in enumerate(sent[:60]):
        if number % 4 == 3:
            later.work()
        reward(run, batch)
    later.work()
    ranges = {name: [(one.start, one.stop) for one in index.graphs] for name, index in run.state.indexes.all().items()}
    assert all(ranges.values())
    assert len(ranges) == (4 if "value" in components else 2)
    assert bool(store.snapshots.kept(run.uid)) == (snapshot_bytes != NEVER)
    # Another process's worth: a copy of the directory, as a crash would leave it.
    copy = directory.with_name("copy")
    shutil.copytree(directory, copy)
    found = sorted(copy.glob("index/*/*.hnsw"))
    kept = [[file.with_suffix(suffix) for suffix in (".hnsw", ".npy", ".crc32")] for file in found]
    contents = [[one.read_bytes() for one in parts] for parts in kept]
    for place, file in enumerate(found):
        if files == "lost":
            file.unlink()
        elif files == "of another history":
            for one, content in zip(kept[place], contents[place - 1], strict=True):
                one.write_bytes(content)
    twin_store = SqliteStore(copy)
    twin = open_run(twin_store, Now())
    assert everything(twin) == everything(run)
    for name, index in twin.state.indexes.all().items():
        assert [(one.start, one.stop) for one in index.graphs] == ranges[name]
    for batch in sent[60:]:
        assert values(twin.evaluate(batch, Submission()).body) == values(run.evaluate(batch, Submission()).body)
        record = rewarded(run, batch, [Submission()]).record
        assert record is not None
        twin.state.apply(record)
    assert twin.state.digest() == run.state.digest()
    for one in (store, twin_store):
        one.close()


SIDES = ("success", "failure")


@pytest.mark.slow
def test_only_the_files_of_graphs_in_use_are_kept(directory: Path, small_graphs: None) -> None:
    later, store = Later(), SqliteStore(directory)
    run = open_run(store, later, NEVER, max_prompts=40, k=3)
    begun = set()
    for number, batch in enumerate(batches(21, 120, prompts=300)):
        if number % 4 == 3:
            later.work()
        reward(run, batch)
        begun |= {file.stem for file in directory.glob("index/*/*.hnsw")}
    later.work()
    reward(run, batches(22, 1)[0])
    used = {f"{side}-{graph.start}-{graph.stop}" for side in SIDES for graph in run.state.memories[side].prompts.graphs}
    kept = {file.stem for file in directory.glob("index/*/*.hnsw")}
    assert used <= kept
    assert len(kept - used) <= 2  # one of each side may be finished and not in use yet
    assert len(begun) > len(kept) + 2
    store.close()


def test_a_graph_that_others_have_replaced_since_a_snapshot_is_not_built_again(
    directory: Path, small_graphs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    later, store = Later(), SqliteStore(directory)
    run = open_run(store, later, max_prompts=100_000)
    sent = iter(batches(23, 120, prompts=300))
    while not (prompts := run.state.memories) or not prompts["success"].prompts.graphs:
        reward(run, next(sent))
        later.work()
    store.snapshots.save(run.uid, run.live._frozen())
    run.state.thaw()
    first = prompts["success"].prompts.graphs[0]
    while first in prompts["success"].prompts.graphs:
        reward(run, next(sent))
        later.work()
    before = everything(run)
    for module in (index_builds, index_set):
        monkeypatch.delattr(module, "build")  # whoever builds one fails
    again, store = restarted(run, store, directory)
    assert everything(again) == before
    assert again.state.memories["success"].prompts.graphs
    store.close()


def test_a_graph_that_cannot_be_built_is_reported_and_begun_again(
    small_graphs: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = open_run(SqliteStore(None))

    def fails(*args: object) -> None:
        raise MemoryError("no room for a graph")

    with monkeypatch.context() as patched:
        patched.setattr(index_builds, "build", fails)
        for batch in batches(17, 20, prompts=200):
            reward(run, batch)
    assert "could not be built" in caplog.text
    assert not run.state.memories["success"].prompts.graphs
    for batch in batches(18, 4, prompts=200):
        reward(run, batch)
    assert run.state.memories["success"].prompts.graphs


def test_a_graph_begun_before_a_crash_is_begun_again_after_it(directory: Path, small_graphs: None) -> None:
    store, later = SqliteStore(directory), Later()
    run = open_run(store, later)
    sent = iter(batches(19, 100, prompts=300))
    while not later.jobs:
        reward(run, next(sent))
    before = everything(run)
    again, store = restarted(run, store, directory)
    assert everything(again) == before
    for _ in range(3):
        reward(again, next(sent))
    assert any(again.state.memories[side].prompts.graphs for side in SIDES)
    store.close()


def test_closing_waits_for_a_snapshot_and_gives_up_graphs_that_have_not_been_begun(
    directory: Path, small_graphs: None
) -> None:
    store, later = SqliteStore(directory), Later()
    run = open_run(store, later, snapshot_bytes=8_000)
    sent = iter(batches(20, 200, prompts=300))
    while {name for name, _ in later.jobs} != {"_build", "save"}:
        reward(run, next(sent))
    closing = threading.Thread(target=run.live.close)
    closing.start()
    assert store.snapshots.kept(run.uid) == []
    later.work("save")
    closing.join()
    assert store.snapshots.kept(run.uid)
    later.work()
    assert not list(directory.glob("index/*/*.hnsw"))
    store.close()


# Descriptions


def test_a_run_describes_itself() -> None:
    run = open_run(SqliteStore(None), components={"exploit": 1.0})
    info = run.info()
    assert (info.position, info.branch, info.step, info.dimension, info.digest) == (0, 0, None, None, None)
    assert info.windows["exploit"].model_dump() == {"count": 0, "min": None, "max": None}
    rows = unit_rows(np.random.default_rng(21), 3)
    for step, outcomes in ((4, [1, 1, 0]), (2, [1, 1, 1])):
        rewarded(run, make_batch(["a", "a", "b"], rows, outcomes, step=step), [Submission()])
    info = run.info(digest=True)
    window = run.state.windows["exploit"]
    assert (info.position, info.step, info.dimension) == (2, 2, DIMENSION)
    assert (info.chain, info.digest) == (run.state.chain.hex(), run.state.digest())
    assert info.windows["exploit"].model_dump() == {"count": len(window), "min": window.min(), "max": window.max()}
    assert info.memory.success.model_dump() == {"prompts": 2, "completions": 5}
    assert info.memory.failure.model_dump() == {"prompts": 1, "completions": 1}


def test_a_history_is_followed_through_the_branches_it_came_by() -> None:
    branches = [Branch(0, None, 0), Branch(1, 0, 10), Branch(2, 1, 15), Branch(3, 0, 4)]
    forever = 2**62
    assert lineage(branches[:1]) == [(0, 0, forever)]
    assert lineage(branches[:3]) == [(0, 0, 10), (1, 10, 15), (2, 15, forever)]
    assert lineage(branches) == [(0, 0, 4), (3, 4, forever)]
    assert lineage(branches, 2, 20) == [(0, 0, 10), (1, 10, 15), (2, 15, 20)]
    assert lineage(branches, 0, 7) == [(0, 0, 7)]


def test_errors_say_what_to_do() -> None:
    store = Failing(None)
    run = open_run(store)
    store.error = StoreFull("The disk is full.", remedy="Make room.")
    with pytest.raises(ProblemError, match="Make room"):
        reward(run, batches(22, 1)[0])
