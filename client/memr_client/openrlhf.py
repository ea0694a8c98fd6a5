"""A reward function for OpenRLHF's local-file mode. Every sample counts once, also across broken connections.

from memr_client.openrlhf import RewardFunction                                 # reward.py, for
reward_func = RewardFunction("http://127.0.0.1:8000", run="gsm8k-seed0")        # --reward.remote_url reward.py

Without a file: set MEMR_URL and MEMR_RUN in the workers' environment, and --reward.remote_url to the path that
`python -m memr_client.openrlhf` prints.

OpenRLHF can also call the service itself (`POST /openrlhf/{run_id}`), but then gives up 5 s after the service stops.
This function waits until the service is back. It needs memr's client where OpenRLHF runs, and openrlhf >= 0.6.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from uuid import uuid4

from memr_client import calls
from memr_client.awaiting import settled
from memr_client.client import RewardClient
from memr_client.columns import checked
from memr_client.errors import MemrError, ProblemError
from memr_client.names import checked_name
from memr_client.plain import plain
from memr_client.schemas import OpenRLHFRequest
from memr_client.tries import checked_seconds

PAUSE_S = 2.0
"""Seconds between a failed call, with all its tries, and the next call."""

Outcome = Callable[[Sequence[str], Sequence[str], Sequence[Any]], Any]
"""A verifier in OpenRLHF's form: `f(queries, prompts, labels)` returns n outcomes. It may be asynchronous."""


class RewardFunction(RewardClient):
    """OpenRLHF's `reward_func`. Thread-safe. A call blocks its thread until the rewards are there.

    Args:
        url: address of the service.
        run: an existing run. Its barrier must not be "group": OpenRLHF has few threads for reward functions, and if all
            of them wait for other members of their groups, those members have no thread. "snapshot" never waits.
        outcome: a verifier. Default: the run's verifier compares with the labels.
        equal_spread: largest spread of the memory's rewards in a group whose outcomes are all equal. Default: 0,
            because OpenRLHF does not say whether its estimator is `group_norm`, which would enlarge them to the whole
            advantage. Under the barriers "snapshot" and "none" such groups are not known, and there is one warning.
        timeout: seconds for one try.
        patience: seconds for all tries. Then the error is raised; OpenRLHF logs it and its training ends.
        options: other arguments of `RewardClient`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        run: str,
        outcome: Outcome | None = None,
        equal_spread: float | None = None,
        timeout: float = 60.0,
        patience: float = 600.0,
        **options: Any,
    ) -> None:
        super().__init__(url, run=checked_name(run), timeout=timeout, **options)
        self._outcome = outcome
        self._equal_spread = equal_spread
        self._patience_s = checked_seconds(patience, "patience", least=0)
        self._barrier: str | None = None

    def __call__(
        self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **kwargs: Any
    ) -> dict[str, Any]:
        """Rewards, scores and extra_logs of n samples, as lists.

        Raises:
            ValueError: the run's barrier is "group".
            MemrError: the service did not respond or refused the request.
        """
        columns: dict[str, Any] = {"query": list(queries), "prompts": list(prompts), "labels": list(labels)}
        if self._outcome is not None:
            columns["outcomes"] = plain(settled(self._outcome(queries, prompts, labels)))
        if self._equal_spread is not None:
            columns["equal_spread"] = self._equal_spread
        # All tries carry one request id, so that the samples are remembered once.
        body = checked(OpenRLHFRequest, **columns, request_id=uuid4().hex)
        call = calls.openrlhf(self._name(None), body)
        ends = time.monotonic() + self._patience_s
        while True:
            try:
                if self._barrier is None:
                    self._barrier = self._checked_barrier()
                return self._do(call).model_dump(exclude={"warnings"})
            except MemrError as error:
                refused = isinstance(error, ProblemError) and error.status < 500
                if refused or time.monotonic() + PAUSE_S > ends:
                    raise
                time.sleep(PAUSE_S)

    def _checked_barrier(self) -> str:
        barrier = self.run().config.barrier
        if barrier == "group":
            raise ValueError(
                f"run {self.run_id!r} has barrier 'group', whose members wait for each other. A waiting reward "
                "function blocks one of OpenRLHF's few threads, so a group may never be complete. Create the run "
                "with barrier='snapshot', or let OpenRLHF call the service itself: "
                f"--reward.remote_url {self.url}/openrlhf/{self.run_id}"
            )
        if barrier in ("snapshot", "none"):
            warnings.warn(
                f"memr: run {self.run_id!r} has barrier {barrier!r}, under which no group is known as a whole, because "
                "OpenRLHF sends completions one by one. So neither equal_spread nor max_spread holds them. With "
                "--algo.advantage.estimator group_norm, the memory's rewards are the whole advantage of groups whose "
                "outcomes are all equal, however small they are. Choose another estimator, or let OpenRLHF call the "
                f"service itself with barrier='group': --reward.remote_url {self.url}/openrlhf/{self.run_id}",
                stacklevel=2,
            )
        return barrier


def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **kwargs: Any) -> dict[str, Any]:
    """A `RewardFunction` configured by MEMR_URL (default http://127.0.0.1:8000), MEMR_RUN and MEMR_API_KEY."""
    return _from_environment()(queries, prompts, labels)


def _from_environment() -> RewardFunction:
    if not (run := os.environ.get("MEMR_RUN", "").strip()):
        raise ValueError("MEMR_RUN is not set: set it to the run's name in the environment of OpenRLHF's workers")
    url = os.environ.get("MEMR_URL", "").strip() or "http://127.0.0.1:8000"
    return _function(url, run, os.environ.get("MEMR_API_KEY", ""))


@cache
def _function(url: str, run: str, api_key: str) -> RewardFunction:
    return RewardFunction(url, run=run, api_key=api_key)


if __name__ == "__main__":
    print(__file__)
