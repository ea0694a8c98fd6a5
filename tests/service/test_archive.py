"""A run as one file, and journals that are bounded: what is dropped, and what must not be."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client.errors import Conflict, MalformedBody, MemrError, Overloaded, StoreFull, TooLarge, UnknownRun
from memr_service.run.spool import Spool
from support.in_process import InProcess

D = 32
CONFIG: dict[str, Any] = {"explore_warmup_steps": 0, "max_prompts": 9, "max_completions": 5, "k": 2}
BOUND = 150_000
"""Bytes of journal; a batch takes about 5,000."""


def batch(number: int, **fields: Any) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    names = [f"prompt {one}" for one in rng.integers(14, size=32)]
    return {
        "run_id": "run",
        "prompts": names,
        "completions": ["" for _ in names],
        "outcomes": rng.integers(2, size=32).astype(float).tolist(),
        "step": number,
        "request_id": f"step {number}",
        "embeddings": {
            "prompts": np.stack([np.random.default_rng(int(name.split()[1])).normal(size=D) for name in names]),
            "completions": rng.normal(size=(32, D)),
        },
        **fields,
    }


def journal_bytes(service: InProcess) -> int:
    store = service.store
    return sum(store.journal.size(run.uid) for run in store.runs.all() if run.run_id == "run")


def filled(service: InProcess, batches: int, start: int = 0) -> None:
    for number in range(start, start + batches):
        service.reward(**batch(number))


def test_an_exported_run_is_imported_with_its_digest_chain_and_request_ids() -> None:
    with InProcess("memory:") as service:
        service.create("run", **CONFIG)
        filled(service, 12)
        copy = service.import_run("copy", service.export("run"))
        original = service.info("run")
        assert service.info("copy").digest == original.digest
        assert (copy.chain, copy.created_at, copy.config) == (original.chain, original.created_at, original.config)
        again = service.reward(**batch(7, run_id="copy"))
        assert service.replayed
        assert again["run_id"] == "copy"
        assert again["rewards"] == service.reward(**batch(7))["rewards"]
        assert service.reward(**batch(50, run_id="copy"))["rewards"] == service.reward(**batch(50))["rewards"]
        assert service.export("run")[:11] == b"memr run 1\n"


@pytest.mark.slow
@pytest.mark.parametrize("bounded", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_file_that_was_cut_or_changed_anywhere_makes_no_run(tmp_path: Path, bounded: bool) -> None:
    with InProcess(f"sqlite:///{tmp_path}", snapshot_bytes=1 << 16, journal_bytes=BOUND if bounded else 0) as service:
        service.create("run", **CONFIG)
        filled(service, 60 if bounded else 3)
        file = service.export("run")
        before = [run.run_id for run in service.store.runs.all()]
        rng = np.random.default_rng(0)
        for place in [*rng.integers(len(file), size=60).tolist(), 0, len(file) - 1]:
            flipped = bytearray(file)
            flipped[place] ^= 1 << int(rng.integers(8))
            for damaged in (bytes(flipped), file[:place], file + b"x"):
                with pytest.raises(MemrError):
                    service.import_run("copy", damaged)
        assert [run.run_id for run in service.store.runs.all()] == before
        assert service.import_run("copy", file).chain == service.info("run").chain


def test_a_name_that_is_taken_is_refused() -> None:
    with InProcess("memory:") as service:
        service.create("run", **CONFIG)
        with pytest.raises(Conflict):
            service.import_run("run", service.export("run"))
        with pytest.raises(MalformedBody):
            service.import_run("other", b"")


@pytest.mark.slow
def test_a_bounded_journal_drops_what_a_snapshot_stands_for_and_nothing_else(tmp_path: Path) -> None:
    with InProcess("memory:") as whole:
        whole.create("run", **CONFIG)
        filled(whole, 140)
        digest = whole.info("run").digest
    for restart in range(7):
        with InProcess(f"sqlite:///{tmp_path}", snapshot_bytes=1 << 16, journal_bytes=BOUND) as service:
            service.create("run", **CONFIG)
            filled(service, 20, 20 * restart)
            assert journal_bytes(service) < 2 * BOUND
            for number in (0, 20 * restart):  # ids are known longer than their records are
                service.reward(**batch(number))
                assert service.replayed
    with InProcess(f"sqlite:///{tmp_path}", snapshot_bytes=1 << 16, journal_bytes=BOUND) as service:
        assert service.info("run").digest == digest
        assert service.import_run("copy", service.export("run")).position == 140
        assert service.fork("run", "fork").position == 140
        assert service.info("copy").digest == service.info("fork").digest == digest
        expected = service.reward(**batch(500))
        for name in ("copy", "fork"):
            assert service.reward(**batch(500, run_id=name))["rewards"] == expected["rewards"]
    with InProcess(f"sqlite:///{tmp_path}", snapshot_bytes=1 << 16, journal_bytes=BOUND) as service:
        assert service.info("copy").digest == service.info("fork").digest == service.info("run").digest


@pytest.mark.slow
def test_a_bounded_journal_keeps_what_its_oldest_checkpoint_needs(tmp_path: Path) -> None:
    with InProcess(f"sqlite:///{tmp_path}", snapshot_bytes=1 << 16, journal_bytes=BOUND) as service:
        service.create("run", **CONFIG)
        filled(service, 50)
        service.checkpoint("run", "fifty")
        digest = service.info("run").digest
        filled(service, 100, 50)
        assert journal_bytes(service) > 2 * BOUND
        service.restore("run", "fifty")
        assert service.info("run").digest == digest
        service.delete_checkpoint("run", "fifty")
        filled(service, 100, 200)
        assert journal_bytes(service) < 2 * BOUND
        last = service.info("run").digest
    with InProcess(f"sqlite:///{tmp_path}", snapshot_bytes=1 << 16, journal_bytes=BOUND) as service:
        assert service.info("run").digest == last


@pytest.mark.slow
def test_a_copy_of_many_records_has_a_snapshot_and_is_opened_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memr_service.run.archive.SNAPSHOT_FROM", 1000)
    with InProcess(f"sqlite:///{tmp_path}") as service:
        service.create("run", **CONFIG)
        filled(service, 12)
        service.import_run("import", service.export("run"))
        service.fork("run", "fork")
        for copy in ("import", "fork"):
            uid = service.store.runs.find(copy).uid
            assert service.store.snapshots.kept(uid) == [(0, 12)]
            assert service.info(copy).digest == service.info("run").digest
        rewards = [service.reward(**batch(50, run_id=run))["rewards"] for run in ("run", "import", "fork")]
        assert rewards[0] == rewards[1] == rewards[2]


def test_an_import_has_a_limit_on_its_bytes_and_what_was_refused_leaves_room() -> None:
    with InProcess("memory:", max_import_bytes=50_000) as service:
        service.create("run", **CONFIG)
        filled(service, 2)
        small = service.export("run")
        filled(service, 20, start=2)
        large = service.export("run")
        assert len(small) < 50_000 < len(large)
        for _ in range(3):
            with pytest.raises(TooLarge, match="MEMR_MAX_IMPORT_BYTES"):
                service.import_run("copy", large)
        assert service.import_run("copy", small).position == 2


def test_imports_share_the_room() -> None:
    spool = Spool(100)
    with spool.upload() as one:
        one.write(bytes(60))
        with spool.upload() as other, pytest.raises(Overloaded, match="MEMR_MAX_IMPORT_BYTES"):
            other.write(bytes(60))
    with spool.upload() as other:
        other.write(bytes(100))


def test_a_full_disk_refuses_an_import_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with InProcess("memory:") as service:
        service.create("run", **CONFIG)
        filled(service, 2)
        exported = service.export("run")
        monkeypatch.setattr("tempfile.TemporaryFile", partial(Path("/dev/full").open, "r+b", buffering=0))
        with pytest.raises(StoreFull, match="TMPDIR"):
            service.import_run("copy", exported)
        monkeypatch.undo()
        with pytest.raises(UnknownRun):
            service.info("copy")
        assert service.import_run("copy", exported).position == 2
