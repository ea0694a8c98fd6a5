"""Where questions about runs are answered: beside the main path, in threads and processes of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from memr_client.schemas import RunConfig

from memr_service.insight import worker
from memr_service.insight.replay import what_if
from memr_service.service import Service


class Desk:
    """Answers questions about a service's runs, from the service's event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._turn = asyncio.Semaphore(1)

    async def replay(self, run_id: str, given: Sequence[RunConfig]) -> AsyncIterator[bytes]:
        """Lines of `ReplayLine`: the run's journal up to now, scored under each of these settings. One at a time.

        Raises:
            UnknownRun. InvalidRequest: a setting cannot be replayed. Both before the first line.
        """
        config, base, completions = await self._service.ask(
            run_id, lambda run: (run.config, run.base, run.state.serial)
        )
        settings = [what_if(config, one, bounded=base > 0) for one in given]
        return self._replayed(run_id, settings, completions)

    async def _replayed(self, run_id: str, settings: Sequence[RunConfig], completions: int) -> AsyncIterator[bytes]:
        async with self._turn:
            async for line in worker.work(self._service.export_run(run_id), run_id, settings, completions):
                yield line
