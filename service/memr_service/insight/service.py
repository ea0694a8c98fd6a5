"""Answers questions about runs, apart from the main path: in threads and processes of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from memr_client.schemas import Audits, Backtest, Calibration, Explain, Explanation, Provenance, RunConfig, Suspects

from memr_service.engine.readers import Gate
from memr_service.engine.service import Service
from memr_service.insight.audits.runner import AuditRunner
from memr_service.insight.backtest import backtest
from memr_service.insight.calibration import calibrate
from memr_service.insight.dashboard.queries import DashboardQueries
from memr_service.insight.explainer import Explainer
from memr_service.insight.journal_reader import JournalReader
from memr_service.insight.pools import Pools, PoolState
from memr_service.insight.provenance import provenance
from memr_service.insight.replay import worker
from memr_service.insight.replay.replay import what_if
from memr_service.insight.suspects.query import suspects

AUDITING_S = 0.3
"""How long the list of runs waits for audits that are out of date."""


class InsightService:
    """The questions that can be asked about a service's runs. Called from the service's event loop; only reads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._questions = Gate("questions", 4, 32)
        self._long = Gate("long readings", 2, 16)  # each reads a whole journal, or makes a copy of a run's state
        self._replays = Gate("replays", 1, 8)
        self._audits = AuditRunner(service, service.settings.audits)
        self._pools = Pools(service)
        self._explainer = Explainer(service)
        self.dashboard = DashboardQueries(service, self._questions, self._long)
        """What the dashboard shows of a run."""

    async def audits(self, run_id: str, at: int | None = None) -> Audits:
        """Whether a run is collapsing, as of a position (None: now)."""
        async with self._questions.entered():
            return await self._audits.audits(run_id, at)

    async def firing(self) -> dict[str, int]:
        """Open run -> how many of its audits are in the state `alarm`, for metrics."""
        return await self._audits.firing()

    async def alarms(self) -> dict[str, int]:
        """Open run -> how many of its audits alarm, as far as that is known or found out soon, for the list of runs."""
        return await self._audits.known(AUDITING_S)

    async def pools(self) -> dict[str, PoolState]:
        """Open run with a pool -> how many of its prompts and groups still teach, for metrics."""
        return await self._pools.states()

    async def calibrate(self, run_id: str) -> Calibration:
        """Limits for a run's guards, proposed from its own records.

        Raises:
            UnknownRun.
            Conflict: the run has too few right completions, or a preset without guards.
        """
        async with self._long.entered():
            return await calibrate(self._service, run_id)

    async def backtest(self, run_id: str) -> Backtest:
        """How well a run's pass rates foresaw its groups.

        Raises:
            UnknownRun. Overloaded: too many questions wait.
        """
        async with self._long.entered():
            return await backtest(JournalReader(self._service, run_id), run_id, self._service.readers)

    async def suspects(
        self, run_id: str, min_probability: float, prior: float, limit: int, others: Sequence[str]
    ) -> Suspects:
        """References and verdicts that the answers seen contradict.

        Args:
            prior: share of the references that are expected to be wrong.
            others: names of runs whose answers count too.

        Raises:
            UnknownRun. Conflict: one of the runs keeps no answers. Overloaded: too many questions wait.
        """
        async with self._long.entered():
            return await suspects(self._service, run_id, min_probability, prior, limit, others)

    async def provenance(self, run_id: str) -> Provenance:
        """What a paper must cite of a run."""
        return await self._service.runs.on_run(run_id, provenance)

    async def explain(self, run_id: str, question: Explain, warnings: Sequence[str] = ()) -> Explanation:
        """How the reward of a prompt and completion would come about now, or how that of a stored item did.

        Args:
            warnings: what the caller should know about the body that the question was read from.

        Raises:
            UnknownRun.
            InvalidRequest: there is no such record or item.
            Conflict: the run is bound to another encoder.
        """
        stored = question.serial is not None or question.position is not None
        async with (self._long if stored else self._questions).entered():
            return await self._explainer.explain(run_id, question, warnings)

    async def replay(self, run_id: str, given: Sequence[RunConfig]) -> AsyncIterator[bytes]:
        """Lines of `ReplayLine`: the run's journal up to now, scored again under each of these settings.

        One replay runs at a time; others wait.

        Raises:
            UnknownRun. Overloaded: too many wait.
            InvalidRequest: a setting cannot be replayed. Both are raised before the first line.
        """
        self._replays.require_room()
        facts = await JournalReader(self._service, run_id).facts()
        settings = [what_if(facts.config, one, facts.law, bounded=facts.base > 0) for one in given]
        return self._replayed(run_id, settings, facts.completions)

    async def _replayed(self, run_id: str, settings: Sequence[RunConfig], completions: int) -> AsyncIterator[bytes]:
        async with self._replays.entered():
            pieces = self._service.runs.export(run_id)
            async for line in worker.work(self._service.readers, pieces, run_id, settings, completions):
                yield line
