"""memr in OpenRLHF's local-file mode: every sample counts once, whatever becomes of connections and servers meanwhile.

from memr_client.openrlhf import RewardFunction                                 # reward.py, for
reward_func = RewardFunction("http://127.0.0.1:8000", run="gsm8k-seed0")        # --reward.remote_url reward.py

Or no file at all: MEMR_URL and MEMR_RUN in the workers' environment, and --reward.remote_url set to what
`python -m memr_client.openrlhf` prints. Without local files OpenRLHF talks to the service itself; this needs the client
where OpenRLHF runs, and in turn waits for a service that is being started again, which OpenRLHF does for 5 s.

For openrlhf >= 0.6.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from memr_client.calls import Call
from memr_client.client import RewardClient
from memr_client.columns import checked
from memr_client.errors import MemrError, ProblemError
from memr_client.schemas import OpenRLHFRequest, OpenRLHFResponse

PAUSE_S = 2.0
"""Between a client's last try and the first of its next ones."""

Outcome = Callable[[Sequence[str], Sequence[str], Sequence[Any]], Sequence[float]]
"""A verifier as OpenRLHF would call it, `f(queries, prompts, labels)`, for n outcomes."""


class RewardFunction(RewardClient):
    """OpenRLHF's `reward_func`. Thread-safe; a call holds its thread until the answer is there.

    Args:
        url: where the service listens.
        run: a run that exists. Its barrier must not be "group": OpenRLHF has few threads for reward functions, and
            when all of them wait for the others of a group, those have none. "snapshot" never waits.
        outcome: who judges; without, the run's verifier does, by the labels.
        timeout: seconds for a try that nobody answers, before the next one.
        patience: seconds for all tries, before the error is raised. OpenRLHF logs it, and its training ends.
        options: the other arguments of `RewardClient`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        run: str,
        outcome: Outcome | None = None,
        timeout: float = 60.0,
        patience: float = 600.0,
        **options: Any,
    ) -> None:
        super().__init__(url, run=run, timeout=timeout, **options)
        self._outcome = outcome
        self._patience_s = patience
        self._barrier: str | None = None

    def __call__(
        self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **kwargs: Any
    ) -> dict[str, Any]:
        """Rewards, scores and extra_logs of n samples, as lists.

        Raises:
            ValueError: the run's barrier is "group".
            MemrError: the service did not answer, or refused; nothing is made up.
        """
        columns: dict[str, Any] = {"query": list(queries), "prompts": list(prompts), "labels": list(labels)}
        if self._outcome is not None:
            columns["outcomes"] = [float(outcome) for outcome in self._outcome(queries, prompts, labels)]
        # One id for all tries, however long they go on: the memory holds the samples once.
        body = checked(OpenRLHFRequest, **columns, request_id=uuid4().hex)
        path = f"/openrlhf/{quote(self._name(None), safe='')}"
        content = body.model_dump_json(exclude_unset=True).encode()
        call = Call("POST", path, OpenRLHFResponse.model_validate_json, content, request_id=body.request_id)
        ends = time.monotonic() + self._patience_s
        while True:
            try:
                if self._barrier is None:
                    self._barrier = self._require_no_wait()
                return self._do(call).model_dump()
            except MemrError as error:
                refused = isinstance(error, ProblemError) and error.status < 500
                if refused or time.monotonic() + PAUSE_S > ends:
                    raise
                time.sleep(PAUSE_S)

    def _require_no_wait(self) -> str:
        barrier = self.run().config.barrier
        if barrier == "group":
            raise ValueError(
                f"run {self.run_id!r} has barrier 'group', whose members wait for each other, but a reward function "
                "holds one of OpenRLHF's few threads while it waits. Create the run with barrier='snapshot', or give "
                f"OpenRLHF the service's address: --reward.remote_url {self.url}/openrlhf/{self.run_id}"
            )
        return barrier


def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **kwargs: Any) -> dict[str, Any]:
    """`RewardFunction` with MEMR_URL (else port 8000 of this machine), MEMR_RUN and, where needed, MEMR_API_KEY."""
    return _of_environment()(queries, prompts, labels)


@cache
def _of_environment() -> RewardFunction:
    if not (run := os.environ.get("MEMR_RUN")):
        raise ValueError("MEMR_RUN names no run: set it in the environment of OpenRLHF's workers")
    return RewardFunction(os.environ.get("MEMR_URL", "http://127.0.0.1:8000"), run=run)


if __name__ == "__main__":
    print(__file__)
