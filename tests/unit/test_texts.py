"""Texts may be forgotten; they may not fail, block or mix anything up."""

from __future__ import annotations

import random
import sqlite3
import string
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from memr_service.store.texts import _GATHERED, ROW_ITEMS, Texts

GIB = 1 << 30


@pytest.fixture(params=["file", "memory"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "texts.db" if request.param == "file" else None


@pytest.fixture
def texts(path: Path | None) -> Iterator[Texts]:
    opened = Texts(path, GIB, 90)
    yield opened
    opened.close()


def noise(chars: int, seed: int) -> str:
    return "".join(random.Random(seed).choices(string.ascii_letters, k=chars))


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr("memr_service.store.texts.time.time", moved)
    return moved


@pytest.fixture
def statements() -> list[str]:
    """What SQLite was told after the thread was held."""
    return []


@pytest.fixture
def held(texts: Texts, statements: list[str]) -> Iterator[threading.Event]:
    """The thread waits until the event is set."""
    free, waiting = threading.Event(), threading.Event()

    def hold(database: sqlite3.Connection) -> None:
        database.set_trace_callback(statements.append)
        waiting.set()
        free.wait(10)

    asking = threading.Thread(target=lambda: texts._ask(hold, None))
    asking.start()
    assert waiting.wait(10)
    yield free
    free.set()
    asking.join(10)


def test_texts_come_back_by_serial_number(texts: Texts) -> None:
    texts.put(1, 10, ["q", "q", "r"], ["first", "second", "third"])
    texts.put(1, 13, ["s"], ["fourth"])
    texts.put(2, 10, ["other"], ["run"])
    assert texts.get(1, [13, 11, 10]) == {13: ("s", "fourth"), 11: ("q", "second"), 10: ("q", "first")}
    assert texts.get(1, [9, 14, 1000]) == {}
    assert texts.get(2, [10, 11]) == {10: ("other", "run")}
    assert texts.get(3, [10]) == {}


@pytest.mark.parametrize("text", ["", "\x00", "a\udc80b", "\ud83d\ude00", "😀 ∑ 漢字", "{}[]\"'\n\r"])
def test_any_text_comes_back_as_it_was(texts: Texts, text: str) -> None:
    texts.put(1, 0, [text], [text])
    assert texts.get(1, [0]) == {0: (text, text)}
    assert texts.dropped == 0


def test_a_large_record_is_found_item_by_item(texts: Texts) -> None:
    n = 3 * ROW_ITEMS + 5
    texts.put(1, 7, ["q"] * n, [f"completion {item}" for item in range(n)])
    wanted = [7, 7 + ROW_ITEMS - 1, 7 + ROW_ITEMS, 7 + n - 1]
    assert texts.get(1, [*wanted, 7 + n]) == {serial: ("q", f"completion {serial - 7}") for serial in wanted}


def test_a_serial_number_written_again_gives_the_later_text(texts: Texts) -> None:
    texts.put(1, 5, ["q"], ["before"])
    texts.put(1, 5, ["q"], ["after"])
    assert texts.get(1, [5]) == {5: ("q", "after")}


def test_the_oldest_texts_go_when_the_quota_is_reached(path: Path | None) -> None:
    texts = Texts(path, quota_bytes=50_000, max_age_days=90)
    for serial in range(30):
        texts.put(1, serial, [""], [noise(10_000, serial)])
    kept = sorted(texts.get(1, range(30)))
    assert 4 <= len(kept) <= 8
    assert kept == list(range(30 - len(kept), 30))
    assert texts.dropped == 0
    texts.close()


@pytest.mark.slow
def test_the_file_stays_near_the_quota(tmp_path: Path) -> None:
    texts = Texts(tmp_path / "texts.db", quota_bytes=200_000, max_age_days=90)
    for serial in range(300):
        texts.put(1, serial, [""], [noise(10_000, serial)])
    texts.close()
    assert (tmp_path / "texts.db").stat().st_size < 400_000


def test_a_quota_of_zero_keeps_nothing(path: Path | None) -> None:
    texts = Texts(path, quota_bytes=0, max_age_days=90)
    texts.put(1, 0, ["q"], ["a"])
    assert texts.get(1, [0]) == {}
    texts.close()


def test_old_texts_go_with_the_next_thing_done(texts: Texts, clock: Clock) -> None:
    texts.put(1, 0, ["q"], ["old"])
    texts.flush()
    clock.now += 89 * 86400
    texts.put(1, 1, ["q"], ["young"])
    assert sorted(texts.get(1, [0, 1])) == [0, 1]
    clock.now += 2 * 86400
    texts.flush()
    assert sorted(texts.get(1, [0, 1])) == [1]


def test_texts_outlive_a_restart_and_old_ones_go_then(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "texts.db"
    first = Texts(file, GIB, 90)
    first.put(1, 0, ["q"], ["a"])
    first.close()
    second = Texts(file, GIB, 90)
    assert second.get(1, [0]) == {0: ("q", "a")}
    second.close()
    clock.now += 91 * 86400
    Texts(file, GIB, 90).close()
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM texts").fetchone() == (0,)


def test_a_smaller_quota_holds_from_the_next_start(tmp_path: Path) -> None:
    file = tmp_path / "texts.db"
    first = Texts(file, GIB, 90)
    for serial in range(10):
        first.put(1, serial, [""], [noise(10_000, serial)])
    first.close()
    second = Texts(file, 30_000, 90)
    kept = sorted(second.get(1, range(10)))
    assert 2 <= len(kept) <= 4
    assert kept == list(range(10 - len(kept), 10))
    second.close()


def test_a_deleted_run_has_no_texts_and_the_others_keep_theirs(texts: Texts) -> None:
    texts.put(1, 0, ["q"], ["a"])
    texts.put(2, 0, ["q"], ["b"])
    texts.delete(1)
    assert texts.get(1, [0]) == {}
    assert texts.get(2, [0]) == {0: ("q", "b")}


def test_a_full_queue_drops_and_counts_but_never_raises_or_waits(texts: Texts, held: threading.Event) -> None:
    texts._room = 100
    for serial in range(50):
        texts.put(1, serial, [""], ["ten chars!"])
    assert texts.dropped == 40
    held.set()
    texts.flush()
    assert sorted(texts.get(1, range(50))) == list(range(10))
    texts.put(1, 50, [""], ["ten chars!"])
    assert sorted(texts.get(1, [50])) == [50]
    assert texts.dropped == 40


def test_records_that_come_together_are_one_transaction(
    texts: Texts, held: threading.Event, statements: list[str]
) -> None:
    for serial in range(20):
        texts.put(1, serial, ["q"], ["a"])
    held.set()
    assert sorted(texts.get(1, range(20))) == [*range(20)]
    of_inserts = [one for one in statements if one.startswith(("INSERT", "COMMIT"))]
    last = max(place for place, one in enumerate(of_inserts) if one.startswith("INSERT"))
    first = min(place for place, one in enumerate(of_inserts) if one.startswith("INSERT"))
    assert last - first == 19


def test_texts_are_kept_while_others_are_asked_for(texts: Texts) -> None:
    for _ in range(3):  # what was gathered was stored for a question before its turn came
        texts._jobs.put(_GATHERED)
        texts._jobs.put(_GATHERED)
        texts.flush()
    for serial in range(200):
        texts.put(1, serial, ["q"], ["a"])
        assert serial in texts.get(1, [serial])
    assert texts._thread.is_alive()
    assert texts.dropped == 0


def test_texts_are_stored_soon_though_nobody_asks(tmp_path: Path) -> None:
    texts = Texts(tmp_path / "texts.db", GIB, 90)
    texts.flush()  # the file has its tables now
    texts.put(1, 0, ["q"], ["a"])
    with closing(sqlite3.connect(tmp_path / "texts.db")) as other:
        until = time.monotonic() + 10
        while not other.execute("SELECT count(*) FROM texts").fetchone()[0]:
            assert time.monotonic() < until
            time.sleep(0.02)
    texts.close()


def test_what_waits_is_stored_before_closing(texts: Texts, held: threading.Event, path: Path | None) -> None:
    texts.put(1, 0, ["q"], ["a"])
    held.set()
    texts.close()
    if path is not None:
        again = Texts(path, GIB, 90)
        assert again.get(1, [0]) == {0: ("q", "a")}
        again.close()


def test_after_closing_nothing_raises_or_hangs(texts: Texts) -> None:
    texts.put(1, 0, ["q"], ["a"])
    texts.close()
    texts.close()
    texts.put(1, 1, ["q", "q"], ["b", "c"])
    texts.delete(1)
    texts.flush()
    assert texts.get(1, [0]) == {}
    assert texts.dropped == 2


def test_texts_that_cannot_be_stored_are_dropped_and_logged(
    texts: Texts, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise sqlite3.OperationalError("database or disk is full")

    texts.put(1, 0, ["q"], ["a"])
    texts.flush()
    with monkeypatch.context() as patch:
        patch.setattr("memr_service.store.texts.zlib.compress", full)
        texts.put(1, 1, ["q", "q"], ["b", "c"])
        texts.flush()
    assert texts.dropped == 2
    assert "disk is full (2 items dropped)" in caplog.text
    texts.put(1, 3, ["q"], ["d"])
    assert texts.get(1, [1, 2, 3]) == {3: ("q", "d")}


@pytest.mark.parametrize("at", [0, 4096])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, at: int, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "texts.db"
    first = Texts(file, GIB, 90)
    for serial in range(20):
        first.put(1, serial, ["q"], [noise(1000, serial)])
    first.close()
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(b"\xff" * 4096)
    second = Texts(file, GIB, 90)
    second.put(1, 20, ["q"], ["lost to the damage, at most"])
    second.flush()
    second.put(1, 21, ["q"], ["a"])
    assert second.get(1, [21]) == {21: ("q", "a")}
    assert "a new one begun" in caplog.text
    second.close()


def test_a_file_that_cannot_be_made_costs_the_texts_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = Texts(tmp_path / "missing" / "texts.db", GIB, 90)
    texts.put(1, 0, ["q"], ["a"])
    assert texts.get(1, [0]) == {}
    assert texts.dropped == 1
    (tmp_path / "missing").mkdir()
    texts.put(1, 1, ["q"], ["b"])
    assert texts.get(1, [0, 1]) == {1: ("q", "b")}
    texts.close()
