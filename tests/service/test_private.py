"""What a server keeps is for its own user: the folder 0700, the files in it 0600."""

import os
import stat

import pytest
from support.in_process import InProcess
from support.requests import batch

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def fill(folder):
    with InProcess(f"sqlite:///{folder}", snapshot_bytes=1 << 16) as service:
        for number in range(20):
            service.reward(**batch(number))
        return {path.name: mode(path) for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def lax_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_new_store_is_readable_by_nobody_else(tmp_path):
    folder = tmp_path / "data"
    modes = fill(folder)
    assert mode(folder) == 0o700
    databases = {name for name in modes if ".db" in name or "texts" in name}
    assert len(databases) >= 4  # both databases with their logs, while they are open
    assert {modes[name] for name in databases} == {0o600}
    assert {mode(path) for path in folder.iterdir() if path.is_dir()} == {0o700}


def test_an_older_store_is_closed_to_others_and_its_group_stays(tmp_path):
    folder = tmp_path / "data"
    fill(folder)
    databases = sorted(folder.glob("*.db"))
    for path in databases:
        path.chmod(0o644)
    (folder / "snapshots").chmod(0o755)
    fill(folder)
    assert len(databases) == 2
    assert {mode(path) for path in databases} == {0o640}
    assert mode(folder / "snapshots") == 0o750
