"""The tiers: what the tests of each folder may use, and how long one of them may take.

The tests speak of Memory-R+ where they name no preset: the law is written for it, and so is the oracle
(`support/paper.py`).
`service/test_run_api.py` tests what a server does without that setting.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Tier:
    """What holds for all tests of a folder.

    Args:
        markers: those that its tests get.
        processor_s: seconds of processor time that one test may take in `make check`. Others lengthen it little.
        timeout_s: seconds by the clock after which a test hangs.
        alone: no test starts a process or opens a connection.
    """

    markers: tuple[str, ...] = ()
    processor_s: float | None = None
    timeout_s: float = 600
    alone: bool = False


TIERS = {
    "unit": Tier(processor_s=3, timeout_s=60, alone=True),
    "service": Tier(processor_s=6, timeout_s=60, alone=True),
    "process": Tier(("process",)),
    "stores": Tier(("process", "redis")),
    "models": Tier(("model",)),
    "trainers": Tier(("process", "model", "trainer")),
    "docs": Tier(("process",)),
    "experiments": Tier(("process", "model")),
}
OUTSIDE = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "socket.bind", "socket.connect"}
"""Audit events of starting a process and of opening a connection."""

settings.register_profile("default", deadline=None)
settings.register_profile("check", deadline=None, max_examples=12)
settings.load_profile("default")

_alone: str | None = None
"""The running test that may neither start a process nor open a connection."""


def pytest_configure() -> None:
    """Before any server of a test starts, in this process or another."""
    os.environ["MEMR_DEFAULT_PRESET"] = "memory-r+"
    sys.addaudithook(_audit)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays to the end, so that the garbage collector need not look at it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with what its folder needs, and with its time-out."""
    for item in items:
        tier = _tier(item.path)
        for marker in tier.markers:
            item.add_marker(marker)
        if item.get_closest_marker("slow") is None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(tier.timeout_s))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Nothing outside this process for a test that stands alone, its fixtures included."""
    global _alone
    _alone = item.nodeid if _tier(item.path).alone else None
    try:
        return (yield)
    finally:
        _alone = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test of `make check` that takes longer than its tier allows fails, unless it is marked `slow`.

    Elsewhere Hypothesis gives more examples, and there is no limit.
    """
    limit = _tier(item.path).processor_s if item.config.getoption("--hypothesis-profile") == "check" else None
    before = time.process_time()
    result = yield
    spent = time.process_time() - before
    if limit is not None and spent > limit and item.get_closest_marker("slow") is None:
        pytest.fail(
            f"{spent:.1f} s of processor time, and this folder allows {limit} s: make it smaller or mark it slow"
        )
    return result


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """Let torch use one thread, which is faster for tiny models, and restore the number afterwards."""
    import torch  # imported here: most tests do without

    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(cores)


@cache
def _tier(path: Path) -> Tier:
    folder = path.relative_to(FOLDER).parts[0] if path.is_relative_to(FOLDER) else ""
    return TIERS.get(folder, Tier())


def _audit(event: str, args: tuple[object, ...]) -> None:
    if _alone is not None and event in OUTSIDE:
        raise RuntimeError(f"{_alone} stands in a folder whose tests neither start processes nor connect: {event}")
