"""A served memr for the pages' blocks, as users have it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from memr_client import RewardClient
from support.serving import serving


@pytest.fixture(scope="module")
def as_users_have_it() -> Iterator[None]:
    """No preset is named for the tests, so that the default is the server's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MEMR_DEFAULT_PRESET", raising=False)
        yield


@pytest.fixture(scope="module")
def served(as_users_have_it: None) -> Iterator[str]:
    """The address of a server for all pages."""
    with serving() as url:
        yield url


@pytest.fixture
def server(served: str) -> str:
    """The same without any run."""
    with RewardClient(served) as client:
        for run in client.runs():
            client.delete_run(run.run_id)
    return served
