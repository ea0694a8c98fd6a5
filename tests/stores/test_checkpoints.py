"""Checkpoints, restore and fork (law L13), at the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from memr_client.errors import Conflict, UnknownCheckpoint, UnknownRun
from support.in_process import InProcess
from support.redis_server import fresh
from support.requests import batch


@pytest.fixture(params=["memory:", "sqlite", "redis"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    url = {"memory:": lambda: "memory:", "sqlite": lambda: f"sqlite:///{tmp_path}", "redis": fresh}[request.param]
    with InProcess(url()) as opened:
        opened.create("run", explore_warmup_steps=3, max_prompts=4, max_completions=3, window=9, k=2)
        yield opened


def test_a_restored_run_goes_on_exactly_as_one_that_was_never_interrupted(service: InProcess) -> None:
    digests = {}
    for number in range(12):
        service.reward(**batch(number))
        digests[number] = service.info("run").digest
        if number == 5:
            assert service.checkpoint("run", "five", step=5).position == 6
    for number in range(100, 104):  # training went astray
        service.reward(**batch(number))
    restored = service.restore("run", "five")
    assert (restored.branch, restored.position, restored.step) == (1, 6, 5)
    assert service.info("run").digest == digests[5]
    for number in range(6, 12):
        answer = service.reward(**batch(number))
        assert not service.replayed  # ids of the abandoned branch are not this history's
        assert answer["branch"] == 1
        assert service.info("run").digest == digests[number]
    service.reward(**batch(3))
    assert service.replayed  # ids from before the checkpoint are


def test_the_abandoned_branch_stays_and_its_checkpoints_can_be_restored(service: InProcess) -> None:
    for number in range(4):
        service.reward(**batch(number))
    service.checkpoint("run", "early")
    for number in range(4, 9):
        service.reward(**batch(number))
    service.checkpoint("run", "late")
    late = service.info("run").digest
    service.restore("run", "early")
    service.reward(**batch(50))
    service.checkpoint("run", "other")
    other = service.info("run").digest
    service.restore("run", "late")
    assert service.info("run").digest == late
    service.reward(**batch(8))
    assert service.replayed
    service.restore("run", "other")
    assert service.info("run").digest == other
    assert [one.name for one in service.checkpoints("run")] == ["early", "late", "other"]


def test_checkpoints_taken_right_after_a_restore_name_the_same_state(service: InProcess) -> None:
    for number in range(3):
        service.reward(**batch(number))
    service.checkpoint("run", "a")
    digest = service.info("run").digest
    service.restore("run", "a")
    service.checkpoint("run", "b")
    service.reward(**batch(7))
    service.restore("run", "b")
    assert service.info("run").digest == digest
    service.reward(**batch(8))
    service.restore("run", "a")
    assert service.info("run").digest == digest


def test_naming_again_moves_the_name_and_deleting_removes_it(service: InProcess) -> None:
    service.reward(**batch(0))
    service.checkpoint("run", "here")
    service.reward(**batch(1))
    assert service.checkpoint("run", "here").position == 2
    assert len(service.checkpoints("run")) == 1
    service.delete_checkpoint("run", "here")
    assert service.checkpoints("run") == []
    for forbidden in (service.delete_checkpoint, service.restore):
        with pytest.raises(UnknownCheckpoint):
            forbidden("run", "here")
    with pytest.raises(UnknownRun):
        service.checkpoint("no such run", "here")


def test_a_fork_has_the_same_state_and_ids_and_goes_its_own_way(service: InProcess) -> None:
    for number in range(6):
        service.reward(**batch(number))
        if number == 2:
            service.checkpoint("run", "two")
            at_two = service.info("run").digest
    fork = service.fork("run", "copy", "two")
    assert (fork.run_id, fork.position, fork.branch) == ("copy", 3, 0)
    assert service.info("copy").digest == at_two
    original = service.reward(**batch(2))
    copied = service.reward(**batch(2, run_id="copy"))
    assert service.replayed
    assert copied["rewards"] == original["rewards"]
    service.reward(**batch(60, run_id="copy"))
    assert service.info("run").position == 6
    assert service.fork("run", "whole").position == 6
    assert service.info("whole").digest == service.info("run").digest
    with pytest.raises(Conflict):
        service.fork("run", "copy")


def test_a_restored_run_survives_a_restart(tmp_path: Path) -> None:
    with InProcess(f"sqlite:///{tmp_path}") as service:
        service.create("run", explore_warmup_steps=0)
        for number in range(5):
            service.reward(**batch(number))
            if number == 2:
                service.checkpoint("run", "two")
        service.restore("run", "two")
        service.reward(**batch(30))
        expected = service.info("run")
    with InProcess(f"sqlite:///{tmp_path}") as service:
        assert service.info("run") == expected
        service.restore("run", "two")
        assert service.info("run").branch == 2
