"""Open runs that have a pool, for metrics: how many of their prompts still teach."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from memr_client.errors import ProblemError
from memr_client.schemas import PromptKinds

from memr_service.engine.service import Service
from memr_service.insight.dashboard.prompts import PromptList, known_now
from memr_service.insight.newest_groups import NewestGroups, newest_groups
from memr_service.run.run import Run

STALE = 16
"""A pool is looked at again after so many records."""


@dataclass(frozen=True)
class PoolState:
    """The prompts of a run by kind, and how many of its newest groups there are, and had spread."""

    kinds: PromptKinds
    groups: int
    with_spread: int


class Pools:
    """Looks at the pools of a service's open runs; again after STALE records."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[str, tuple[tuple[int, int, int, int], PoolState | None]] = {}
        """Run -> (uid, branch, position of the pool, records // STALE) when it was looked at, and what was found."""

    async def states(self) -> dict[str, PoolState]:
        """Open run with a pool -> its state."""
        found = {}
        for run_id in self._service.runs.open_names():
            with suppress(ProblemError):  # it was deleted meanwhile: the others are still reported
                if run_id in self._service.runs.open_names() and (state := await self._state(run_id)) is not None:
                    found[run_id] = state
        return found

    async def _state(self, run_id: str) -> PoolState | None:
        when = await self._service.runs.on_run(run_id, _when)
        if run_id not in self._known or self._known[run_id][0] != when:
            self._known[run_id] = when, await self._looked_at(run_id) if when[2] else None
        return self._known[run_id][1]

    async def _looked_at(self, run_id: str) -> PoolState | None:
        candidates = await self._service.planner.candidates(run_id)
        if candidates is None:
            return None
        known = await self._service.runs.on_run(run_id, known_now, candidates)
        groups = await self._service.runs.on_run(run_id, _groups)
        listed = await self._service.readers.ask(PromptList.of, known)
        return PoolState(
            kinds=listed.of_pool().counts(),
            groups=len(groups.spread),
            with_spread=int(groups.spread.sum()),
        )


def _when(run: Run) -> tuple[int, int, int, int]:
    return run.uid, run.state.branch, run.state.pool_since, run.state.position // STALE


def _groups(run: Run) -> NewestGroups:
    groups = newest_groups(run, run.state.position)
    assert groups is not None, "a run with a pool has pass rates"
    return groups
