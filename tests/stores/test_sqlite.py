"""What the embedded store does when the disk, another process or the power does not play along."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from memr_client.errors import InternalError, StoreFull, Unavailable
from memr_service.store import arrays
from memr_service.store.base import Damage, NewResponse, Snapshot, StoredRecord
from memr_service.store.sqlite import SqliteStore, database
from memr_service.store.sqlite.journal import COMMITS_PER_PRUNING
from memr_service.store.sqlite.reserve import RESERVE_BYTES, Reserve

WHEN = "2025-11-21T08:00:00+00:00"
TO_THE_END = 2**62
PAGE = 8192


def payload(position: int) -> bytes:
    return np.random.default_rng(position).bytes(3000)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(data)
    yield opened
    opened.close()


def fill(store: SqliteStore, upto: int, after: int = 0) -> int:
    """Commit records after + 1 ... upto to the run "run" (made if need be); its uid."""
    run = store.runs.find("run") or store.runs.create("run", "{}", 1, None, WHEN)
    for position in range(after + 1, upto + 1):
        store.journal.commit(
            run.uid,
            StoredRecord(0, position, payload(position)),
            [NewResponse(f"id-{position}", b"digest", b"response")],
        )
    return run.uid


def filled(data: Path, upto: int) -> int:
    store = SqliteStore(data)
    uid = fill(store, upto)
    store.close()
    return uid


def positions(store: SqliteStore, uid: int = 1) -> list[int]:
    found = list(store.journal.records(uid, [(0, 0, TO_THE_END)]))
    assert all(record.payload == payload(record.position) for record in found)
    return [record.position for record in found]


def answered(store: SqliteStore, uid: int, upto: int) -> list[int]:
    return [position for position in range(1, upto + 1) if len(store.responses.find(uid, f"id-{position}")) == 1]


def flip(file: Path, offset: int, bits: int = 0xFF) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        byte = opened.read(1)[0]
        opened.seek(offset)
        opened.write(bytes([byte ^ bits]))


def place_of(file: Path, position: int) -> int:
    """Where the payload of a record lies in a closed database file."""
    offset = file.read_bytes().find(payload(position))
    assert offset > 0
    return offset


def run_python(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# One owner ------------------------------------------------------------------------------------------------------------


def test_a_second_store_in_the_same_process_is_refused(store: SqliteStore, data: Path) -> None:
    with pytest.raises(Unavailable, match="in use by this process") as refused:
        SqliteStore(data)
    assert str(data) in str(refused.value)
    fill(store, 1)
    store.close()
    SqliteStore(data).close()


OPEN = """
import sys
from pathlib import Path
from memr_client.errors import Unavailable
from memr_service.store.sqlite import SqliteStore
try:
    SqliteStore(Path(sys.argv[1])).close()
except Unavailable as refused:
    print(refused)
"""


def test_a_second_process_is_told_who_has_the_directory(store: SqliteStore, data: Path) -> None:
    fill(store, 2)
    told = run_python(OPEN, data).communicate(timeout=60)[0]
    assert f"the data directory {data} is in use by another process (pid {os.getpid()} on host " in told
    assert f"Stop process {os.getpid()}, or give another directory" in told
    assert positions(store) == [1, 2]


COMMIT = """
import sys
from pathlib import Path
import numpy as np
from memr_service.store.base import NewResponse, StoredRecord
from memr_service.store.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
run = store.runs.find("run") or store.runs.create("run", "{}", 1, None, "")
position = sum(1 for _ in store.journal.records(run.uid, [(0, 0, 2**62)]))
print("open", flush=True)
while True:
    position += 1
    record = StoredRecord(0, position, np.random.default_rng(position).bytes(3000))
    store.journal.commit(run.uid, record, [NewResponse(f"id-{position}", b"digest", b"response")])
    print(position, flush=True)
"""


def test_what_was_acknowledged_before_a_kill_is_there_exactly_once(data: Path) -> None:
    rng = np.random.default_rng(0)
    acknowledged = 0
    for _ in range(6):
        child = run_python(COMMIT, data)
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        for _ in range(int(rng.integers(1, 200))):
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        with child:
            rest = child.stdout.read().split()  # not `communicate`: it forgets what `readline` has read ahead
        acknowledged = int(rest[-1]) if rest else acknowledged

        store = SqliteStore(data)  # the killed owner's lock is free
        found = positions(store)
        assert found in (list(range(1, acknowledged + 1)), list(range(1, acknowledged + 2)))
        assert answered(store, 1, len(found)) == found
        assert store.journal.damages() == []
        acknowledged = len(found)
        store.close()


def test_the_log_is_written_into_the_database_when_nobody_waits_and_by_a_commit_once_it_is_long(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database, "TIDY_PAGES", 30)
    monkeypatch.setattr(database, "WAL_PAGES", 60)
    store = SqliteStore(data)
    uid = fill(store, 1)

    def pages(name: str) -> int:
        return (data / name).stat().st_size // PAGE

    before = pages("memr.db")
    fill(store, 8, after=1)
    assert pages("memr.db") == before
    assert 30 < pages("memr.db-wal") < 60
    store.tidy()
    written, log = pages("memr.db"), pages("memr.db-wal")
    assert written > before
    fill(store, 10, after=8)
    store.tidy()  # is not due
    assert (pages("memr.db"), pages("memr.db-wal")) == (written, log)  # the log began again
    fill(store, 60, after=10)
    assert 60 <= pages("memr.db-wal") < 75
    assert pages("memr.db") > written
    assert positions(store, uid) == list(range(1, 61))
    store.close()
    store.tidy()
    assert "could not be written into it" in caplog.text


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be written to") as refused:
        SqliteStore(tmp_path / "file" / "data")
    assert refused.value.value == str(tmp_path / "file" / "data")


def test_a_store_that_could_not_be_opened_lets_the_directory_go(data: Path) -> None:
    data.mkdir()
    (data / "memr.db").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"memr.db is damaged"):
            SqliteStore(data)


# What is on the disk --------------------------------------------------------------------------------------------------


def test_a_newer_schema_is_not_touched(data: Path) -> None:
    filled(data, 1)
    database = sqlite3.connect(data / "memr.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    before = (data / "memr.db").read_bytes()
    with pytest.raises(Unavailable, match=r"newer memr \(schema 99\)"):
        SqliteStore(data)
    assert (data / "memr.db").read_bytes() == before


def test_another_programs_database_is_not_touched(data: Path) -> None:
    data.mkdir()
    database = sqlite3.connect(data / "memr.db")
    database.execute("CREATE TABLE theirs (x)")
    database.close()
    before = (data / "memr.db").read_bytes()
    with pytest.raises(Unavailable, match="another program"):
        SqliteStore(data)
    assert (data / "memr.db").read_bytes() == before


def crashed_copy(data: Path, copy: Path) -> Path:
    """What a crash at this moment would leave of an open store."""
    copy.mkdir(parents=True)
    for name in ("memr.db", "memr.db-wal"):
        shutil.copy(data / name, copy / name)
    return copy / "memr.db-wal"


def test_a_log_cut_anywhere_in_the_last_record_leaves_the_ones_before(
    store: SqliteStore, data: Path, tmp_path: Path
) -> None:
    uid = fill(store, 4)
    before = (data / "memr.db-wal").stat().st_size
    fill(store, 5, after=4)
    after = (data / "memr.db-wal").stat().st_size
    assert after > before + 3000
    for number, length in enumerate([before, before + 1, *range(before + 20, after, 997), after - 1, after]):
        wal = crashed_copy(data, tmp_path / f"cut-{number}")
        with wal.open("r+b") as file:
            file.truncate(length)
        survivor = SqliteStore(wal.parent)
        whole = [1, 2, 3, 4, 5] if length == after else [1, 2, 3, 4]
        assert positions(survivor) == whole
        assert answered(survivor, uid, 5) == whole
        fill(survivor, 6, after=whole[-1])
        assert positions(survivor)[-1] == 6
        survivor.close()


def test_a_byte_flipped_in_the_log_cuts_the_last_record_and_is_reported(
    store: SqliteStore, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(store, 4)
    before = (data / "memr.db-wal").stat().st_size
    fill(store, 5, after=4)
    after = (data / "memr.db-wal").stat().st_size
    for number, offset in enumerate(range(before + 100, after, 2999)):
        wal = crashed_copy(data, tmp_path / f"flip-{number}")
        flip(wal, offset)
        caplog.clear()
        survivor = SqliteStore(wal.parent)
        assert positions(survivor) == [1, 2, 3, 4]
        assert "torn or damaged" in caplog.text
        survivor.close()


def test_a_whole_log_is_not_reported(
    store: SqliteStore, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(store, 5)
    survivor = SqliteStore(crashed_copy(data, tmp_path / "copy").parent)
    assert positions(survivor) == [1, 2, 3, 4, 5]
    survivor.close()
    assert caplog.text == ""


@pytest.mark.parametrize(("bad", "byte"), [(1, 0), (4, 1500), (6, 2999)])
def test_a_flipped_payload_is_cut_with_what_follows_and_reported(
    data: Path, bad: int, byte: int, caplog: pytest.LogCaptureFixture
) -> None:
    uid = filled(data, 6)
    flip(data / "memr.db", place_of(data / "memr.db", bad) + byte, 0x01)
    store = SqliteStore(data)
    assert store.journal.damages() == []
    prefix = list(range(1, bad))
    assert positions(store) == prefix
    assert store.journal.damages() == [Damage("run", 0, bad, 7 - bad, "checksum mismatch")]
    assert f"record {bad} (branch 0)" in caplog.text
    assert answered(store, uid, 6) == prefix
    fill(store, bad, after=bad - 1)
    assert positions(store) == [*prefix, bad]
    store.close()

    kept = sqlite3.connect(data / "memr.db")
    assert kept.execute("SELECT position FROM damaged ORDER BY position").fetchall() == [(p,) for p in range(bad, 7)]
    kept.close()
    store = SqliteStore(data)
    assert positions(store) == [*prefix, bad]
    assert store.journal.damages() == []
    store.close()


@pytest.mark.parametrize(
    "wrong",
    [
        "UPDATE log SET position = 30 WHERE position = 3",
        "DELETE FROM log WHERE position = 3",
        "UPDATE log SET payload = CAST('text' AS TEXT) WHERE position = 3",
        "UPDATE log SET payload = x'' WHERE position = 3",
        "UPDATE log SET payload = (SELECT payload FROM log WHERE position = 2), crc = "
        "(SELECT crc FROM log WHERE position = 2) WHERE position = 3",
    ],
)
def test_a_record_that_is_missing_or_another_is_cut(data: Path, wrong: str) -> None:
    filled(data, 5)
    database = sqlite3.connect(data / "memr.db")
    database.execute(wrong)
    database.commit()
    database.close()
    store = SqliteStore(data)
    assert positions(store) == [1, 2]
    assert [(damage.position, damage.branch) for damage in store.journal.damages()] == [(3, 0)]
    store.close()


def test_damage_behind_a_snapshot_cuts_nothing(data: Path) -> None:
    store = SqliteStore(data)
    uid = fill(store, 5)
    store.snapshots.save(uid, Snapshot(0, 4, {"a": np.zeros(1)}))
    store.close()
    flip(data / "memr.db", place_of(data / "memr.db", 3))
    store = SqliteStore(data)
    with pytest.raises(Unavailable, match="record 3"):
        positions(store)
    assert [record.position for record in store.journal.records(uid, [(0, 4, TO_THE_END)])] == [5]
    fill(store, 6, after=5)
    assert store.journal.damages() == []
    store.close()


def test_damage_behind_this_sessions_commits_cuts_nothing(data: Path) -> None:
    uid = filled(data, 5)
    flip(data / "memr.db", place_of(data / "memr.db", 3))
    store = SqliteStore(data)
    fill(store, 6, after=5)
    with pytest.raises(Unavailable, match="record 3"):
        positions(store)
    fill(store, 7, after=6)
    assert answered(store, uid, 7) == [1, 2, 3, 4, 5, 6, 7]
    store.close()


def test_an_unreadable_page_is_a_typed_error_that_names_the_file(data: Path) -> None:
    uid = filled(data, 50)
    page = place_of(data / "memr.db", 25) // PAGE * PAGE
    for offset in range(page, page + 100):
        flip(data / "memr.db", offset)
    store = SqliteStore(data)
    assert len(list(store.journal.records(uid, [(0, 0, 20)]))) == 20
    with pytest.raises(Unavailable, match="is damaged") as broken:
        positions(store)
    assert str(data / "memr.db") in str(broken.value)
    assert "backup" in str(broken.value)
    assert len(list(store.journal.records(uid, [(0, 30, 50)]))) == 20
    store.close()


# Groups ---------------------------------------------------------------------------------------------------------------


def test_commits_of_one_transaction_are_durable_together(store: SqliteStore, data: Path) -> None:
    uid = fill(store, 2)
    copy = data.parent / "copy"
    with store.transactions.transaction():
        fill(store, 5, after=2)
        shutil.copytree(data, copy)  # what a power cut would leave now
        assert answered(store, uid, 5) == [1, 2, 3, 4, 5]
    assert positions(store) == [1, 2, 3, 4, 5]
    left = SqliteStore(copy)
    assert positions(left) == [1, 2]
    assert answered(left, uid, 5) == [1, 2]
    left.close()


def test_a_commit_of_a_transaction_that_is_refused_takes_back_only_what_it_wrote(store: SqliteStore) -> None:
    uid = fill(store, 2)
    store.responses.amend(uid, "id-1", b"final")
    with store.transactions.transaction():
        fill(store, 3, after=2)
        with pytest.raises(InternalError, match="UNIQUE"):
            store.journal.commit(uid, StoredRecord(0, 4, payload(4)), [NewResponse("id-2", b"digest", b"response")])
        fill(store, 4, after=3)
    assert positions(store) == [1, 2, 3, 4]
    assert answered(store, uid, 4) == [1, 2, 3, 4]
    assert store.responses.find(uid, "id-1")[0].response == b"final"


def test_a_transaction_that_fails_leaves_nothing_of_its_commits(store: SqliteStore) -> None:
    uid = fill(store, 2)

    def group() -> None:
        with store.transactions.transaction():
            fill(store, 4, after=2)
            raise KeyError

    with pytest.raises(KeyError):
        group()
    assert positions(store) == [1, 2]
    assert answered(store, uid, 4) == [1, 2]
    fill(store, 3, after=2)
    assert positions(store) == [1, 2, 3]


# No room --------------------------------------------------------------------------------------------------------------


def limit_pages(store: SqliteStore, pages: int) -> None:
    store._database.rows(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_refuses_the_record_and_is_usable_again_with_room(store: SqliteStore) -> None:
    uid = fill(store, 3)
    limit_pages(store, store._database.rows("PRAGMA page_count")[0][0])
    with pytest.raises(StoreFull, match="nothing was written") as full:
        store.journal.commit(uid, StoredRecord(0, 4, bytes(100_000)), [NewResponse("id-4", b"digest", b"response")])
    assert full.value.remedy is not None
    assert positions(store) == [1, 2, 3]
    assert store.responses.find(uid, "id-4") == []
    limit_pages(store, 1 << 30)
    fill(store, 4, after=3)
    assert positions(store) == [1, 2, 3, 4]


def test_a_full_disk_refuses_a_group_of_records_as_a_whole(store: SqliteStore) -> None:
    uid = fill(store, 3)
    limit_pages(store, store._database.rows("PRAGMA page_count")[0][0])

    def group() -> None:
        with store.transactions.transaction():
            for position in range(4, 9):
                store.journal.commit(uid, StoredRecord(0, position, bytes(100_000)))

    with pytest.raises(StoreFull):
        group()
    assert positions(store) == [1, 2, 3]
    limit_pages(store, 1 << 30)
    fill(store, 4, after=3)
    assert positions(store) == [1, 2, 3, 4]


def test_a_run_can_be_deleted_when_the_disk_is_full(
    store: SqliteStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid, reserve, write = fill(store, 3), data / "reserve", store._database.write
    assert reserve.stat().st_size == RESERVE_BYTES

    def as_on_a_full_disk(statement: str, *values: object) -> Any:
        if reserve.exists() and statement.startswith("DELETE"):
            raise StoreFull("there is no room")
        return write(statement, *values)

    monkeypatch.setattr(store._database, "write", as_on_a_full_disk)
    store.runs.delete(uid)
    assert store.runs.all() == []
    assert reserve.stat().st_size == RESERVE_BYTES
    monkeypatch.undo()
    fill(store, 3)


def test_a_disk_without_room_for_the_reserve_has_none(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        reserve = Reserve(tmp_path / "reserve")
        with reserve.used():
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [*tmp_path.iterdir()] == []


def test_a_file_size_limit_counts_as_no_room(store: SqliteStore) -> None:
    uid = fill(store, 2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, limits[1]))
    try:
        with pytest.raises(StoreFull):
            store.journal.commit(uid, StoredRecord(0, 3, payload(3)), [NewResponse("id-3", b"digest", b"response")])
        with pytest.raises(Unavailable):
            store.check()
        with pytest.raises(StoreFull):
            store.snapshots.save(uid, Snapshot(0, 2, {"a": np.zeros(10_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    store.check()
    assert positions(store) == [1, 2]
    assert store.snapshots.kept(uid) == []
    fill(store, 3, after=2)
    assert answered(store, uid, 3) == [1, 2, 3]


def test_another_writer_is_an_unavailable_store(store: SqliteStore, data: Path) -> None:
    uid = fill(store, 1)
    store._database.rows("PRAGMA busy_timeout = 0")
    intruder = sqlite3.connect(data / "memr.db", isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        store.journal.commit(uid, StoredRecord(0, 2, payload(2)))
    intruder.execute("ROLLBACK")
    intruder.close()
    fill(store, 2, after=1)
    assert positions(store) == [1, 2]


def test_a_closed_store_is_unavailable(store: SqliteStore) -> None:
    uid = fill(store, 1)
    store.close()
    with pytest.raises(Unavailable, match="closed"):
        store.journal.commit(uid, StoredRecord(0, 2, payload(2)))


def test_amended_responses_that_find_no_room_do_not_keep_the_store_open(
    store: SqliteStore, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uid = fill(store, 1)
    store.responses.amend(uid, "id-1", bytes(100_000))
    limit_pages(store, store._database.rows("PRAGMA page_count")[0][0])
    store.close()
    assert "1 responses could not be amended" in caplog.text
    again = SqliteStore(data)
    assert [given.response for given in again.responses.find(uid, "id-1")] == [b"response"]
    again.close()


# What grows -----------------------------------------------------------------------------------------------------------


def test_old_responses_go_when_the_store_opens_and_now_and_then(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    store = SqliteStore(data, response_hours=24)
    uid = fill(store, 2)
    now += 12 * 3600
    fill(store, 3, after=2)
    now += 13 * 3600
    assert answered(store, uid, 3) == [1, 2, 3]
    store.close()
    store = SqliteStore(data, response_hours=24)
    assert answered(store, uid, 3) == [3]
    now += 13 * 3600
    store._database.rows("PRAGMA synchronous = OFF")
    fill(store, 3 + COMMITS_PER_PRUNING, after=3)
    assert answered(store, uid, 5) == [4, 5]
    assert len(positions(store)) == 3 + COMMITS_PER_PRUNING
    store.close()


def test_a_deleted_run_gives_its_space_and_its_files_back(store: SqliteStore, data: Path) -> None:
    other = store.runs.create("other", "{}", 1, None, WHEN)
    uid = fill(store, 2)
    empty = store.size()
    for position in range(3, 13):
        store.journal.commit(uid, StoredRecord(0, position, bytes(1 << 20)))
    store.snapshots.save(uid, Snapshot(0, 12, {"a": np.zeros(100_000)}))
    for one in (uid, other.uid):
        store.index_files.save(one, "success", lambda file: file.write_bytes(bytes(1 << 20)))
    index, kept = (store.index_files.find(one, "success") for one in (uid, other.uid))
    assert index.exists()
    store.runs.delete(uid)
    while store.runs.reclaim():
        pass
    assert not index.parent.exists()
    assert kept.exists()
    assert not (data / "snapshots" / str(uid)).exists()
    assert store.size() < empty + (1 << 20) + 100_000


def test_a_run_that_was_not_whole_at_a_crash_is_swept_at_the_start(data: Path) -> None:
    filled(data, 1)
    store = SqliteStore(data)
    before = store.runs.all()
    parts = store.runs.restore("copy", "{}", 1, None, WHEN, iter([(StoredRecord(0, 1, bytes(3 << 20)), [])]))
    assert next(parts) is None
    store.close()
    store = SqliteStore(data)
    assert store.runs.all() == before
    assert store._database.rows("SELECT count(*) FROM runs")[0][0] == len(before)
    store.close()
    with pytest.raises(Unavailable):  # it cannot tidy up a closed store
        parts.close()


def test_files_of_runs_that_are_gone_are_swept_at_the_start(data: Path) -> None:
    uid = filled(data, 1)
    for place in (data / "snapshots" / "77", data / "index" / "77", data / "index" / str(uid)):
        place.mkdir(parents=True)
        (place / "file").touch()
    (data / "snapshots" / f"{uid}-0-1.state.tmp").touch()
    store = SqliteStore(data)
    store.close()
    assert sorted(path.relative_to(data).as_posix() for path in (data / "index").rglob("*")) == [
        f"index/{uid}",
        f"index/{uid}/file",
    ]
    assert list((data / "snapshots").iterdir()) == []


def test_a_journal_is_read_in_a_stream(data: Path) -> None:
    store = SqliteStore(data)
    uid = store.runs.create("run", "{}", 1, None, WHEN).uid
    store._database.rows("PRAGMA synchronous = OFF")
    for position in range(1, 201):
        store.journal.commit(uid, StoredRecord(0, position, bytes(100_000)))
    tracemalloc.start()
    assert sum(len(record.payload) for record in store.journal.records(uid, [(0, 0, TO_THE_END)])) == 20_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    store.close()


# Snapshots ------------------------------------------------------------------------------------------------------------


def snapshot(position: int, branch: int = 0) -> Snapshot:
    return Snapshot(branch, position, {"vectors": np.full((4, 3), position, np.float32), "file": np.arange(5)})


def test_the_newest_two_snapshots_are_kept(store: SqliteStore, data: Path) -> None:
    uid = fill(store, 1)
    for position in (9, 10, 100):
        store.snapshots.save(uid, snapshot(position))
    store.snapshots.save(uid, snapshot(100))
    assert store.snapshots.kept(uid) == [(0, 100), (0, 10)]
    store.snapshots.save(uid, snapshot(50, branch=1))
    assert store.snapshots.kept(uid) == [(1, 50), (0, 100)]
    assert len(list((data / "snapshots" / str(uid)).iterdir())) == 2
    loaded = store.snapshots.load(uid, 0, 100)
    assert loaded is not None
    assert loaded.arrays["vectors"][0, 0] == 100
    assert store.snapshots.load(uid, 0, 10) is None


def test_a_snapshot_with_any_byte_flipped_or_missing_is_not_loaded(
    store: SqliteStore, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uid = fill(store, 1)
    store.snapshots.save(uid, snapshot(1))
    file = data / "snapshots" / str(uid) / "0-1.state"
    whole = file.read_bytes()
    damaged = [whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :] for at in range(len(whole))]
    damaged += [whole[:length] for length in (0, 1, 3, 4, 5, len(whole) // 2, len(whole) - 1)] + [whole + b"x"]
    for content in damaged:
        file.write_bytes(content)
        caplog.clear()
        assert store.snapshots.load(uid, 0, 1) is None
        assert "0-1.state is damaged" in caplog.text
        assert store.snapshots.kept(uid) == []
    file.write_bytes(whole)
    assert store.snapshots.load(uid, 0, 1) is not None


def test_objects_do_not_get_into_a_snapshot(store: SqliteStore, data: Path) -> None:
    uid = fill(store, 1)
    with pytest.raises(TypeError, match="array of references"):
        store.snapshots.save(uid, Snapshot(0, 1, {"a": np.array([{}], dtype=object)}))
    assert store.snapshots.kept(uid) == []
    assert list((data / "snapshots").rglob("*.*")) == []


def test_a_crash_while_saving_leaves_the_snapshots_before(
    store: SqliteStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = fill(store, 1)
    store.snapshots.save(uid, snapshot(1))

    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("memr_service.store.arrays.msgpack.packb", broken)
    with pytest.raises(MemoryError):
        store.snapshots.save(uid, snapshot(2))
    assert store.snapshots.kept(uid) == [(0, 1)]
    assert store.snapshots.load(uid, 0, 1) is not None


def test_a_run_deleted_while_its_snapshot_is_written_leaves_no_file(
    store: SqliteStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = fill(store, 1)
    writing, deleted = threading.Event(), threading.Event()
    write = arrays.write

    def slow(file: BinaryIO, named: Mapping[str, np.ndarray]) -> None:
        writing.set()
        assert deleted.wait(10)
        write(file, named)

    monkeypatch.setattr(arrays, "write", slow)
    saver = threading.Thread(target=store.snapshots.save, args=(uid, snapshot(1)))
    saver.start()
    assert writing.wait(10)
    store.runs.delete(uid)
    deleted.set()
    saver.join(10)
    assert list((data / "snapshots").iterdir()) == []


def test_a_defect_in_the_engine_is_an_internal_error_with_the_limit(store: SqliteStore) -> None:
    uid = fill(store, 2)
    with pytest.raises(InternalError) as refused:
        store.journal.commit(uid, StoredRecord(0, 2, payload(2)))
    assert (refused.value.value, refused.value.limit) == (2, 3)
