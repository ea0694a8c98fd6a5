"""A service in this process and thread, without a socket, for tests that send embeddings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from memr_client.schemas import Checkpoint, HistoryRow, RewardRequest, RunConfig, RunInfo
from memr_service.engine.service import Service
from memr_service.run.run import Run
from memr_service.settings import Settings
from memr_service.store.capabilities import Store

T = TypeVar("T")


class InProcess:
    """Opens a service over a store; leaving the `with` block closes it.

    with Local("memory:") as service:
        service.create("run", k=5)
        answer = service.reward(run_id="run", prompts=..., completions=..., outcomes=..., embeddings=...)
    """

    def __init__(self, store: str, **settings: Any) -> None:
        self.replayed = False
        self._loop = asyncio.new_event_loop()
        self._service = Service.open(Settings(store=store, encoder="hashed", preload=False, **settings))
        self._wait_for(self._service.start())

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def store(self) -> Store:
        """Where the service keeps its runs."""
        return self._service.store

    def create(self, run_id: str, **config: Any) -> RunInfo:
        """Create a run from the fields of its config."""
        info, _ = self._wait_for(self._service.runs.create(run_id, RunConfig(**config)))
        return info

    def reward(self, **fields: Any) -> dict[str, Any]:
        """The parsed response to `POST /reward`; `self.replayed` says whether it had been given before."""
        response = self._wait_for(self._service.reward(RewardRequest(**fields)))
        self.replayed = response.replayed
        parsed: dict[str, Any] = json.loads(response.body)
        return parsed

    def info(self, run_id: str) -> RunInfo:
        """Describe a run, its digest included."""
        return self._wait_for(self._service.runs.describe(run_id, digest=True))

    def delete(self, run_id: str) -> None:
        """Remove a run."""
        self._wait_for(self._service.runs.delete(run_id))

    def history(self, run_id: str, after: int = 0, limit: int = 1000) -> list[HistoryRow]:
        """A run's steps."""
        return self._on_run(run_id, Run.history, after, limit)

    def checkpoint(self, run_id: str, name: str, step: int | None = None) -> Checkpoint:
        """Name a run's present position."""
        return self._on_run(run_id, self._service.runs.checkpoints.create, name, step)

    def checkpoints(self, run_id: str) -> list[Checkpoint]:
        """A run's checkpoints."""
        return self._on_run(run_id, self._service.runs.checkpoints.all)

    def delete_checkpoint(self, run_id: str, name: str) -> None:
        """Remove a checkpoint."""
        self._on_run(run_id, self._service.runs.checkpoints.delete, name)

    def restore(self, run_id: str, checkpoint: str) -> RunInfo:
        """Bring a run back to a checkpoint."""
        return self._on_run(run_id, self._service.runs.checkpoints.restore, checkpoint)

    def export(self, run_id: str) -> bytes:
        """A run as one file."""

        async def whole() -> bytes:
            return b"".join([piece async for piece in self._service.runs.export(run_id)])

        return self._wait_for(whole())

    def import_run(self, run_id: str, file: bytes) -> RunInfo:
        """A run from such a file."""

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(file), 1000):
                yield file[start : start + 1000]

        return self._wait_for(self._service.runs.import_file(run_id, pieces()))

    def fork(self, run_id: str, new_run_id: str, checkpoint: str | None = None) -> RunInfo:
        """Copy a run."""
        return self._wait_for(self._service.runs.fork(run_id, new_run_id, checkpoint))

    def close(self) -> None:
        """Close the service as a server does that is told to stop."""
        self._wait_for(self._service.close())
        self._loop.close()

    def _on_run(self, run_id: str, function: Callable[..., T], *args: Any) -> T:
        return self._wait_for(self._service.runs.on_run(run_id, function, *args))

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)
