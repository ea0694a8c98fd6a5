"""The end of a run's history: what has been added since the last look."""

from __future__ import annotations

from collections.abc import Callable

from memr_client import RewardClient
from memr_client.schemas import HistoryRow, RunInfo

from memr_service.cli import history
from memr_service.cli.sinks import Place

Say = Callable[[str], None]


class Tail:
    """The steps of a run that have not been written yet, also when it is restored meanwhile."""

    def __init__(self, client: RewardClient, run_id: str, place: Place | None, say: Say) -> None:
        """`place` is that of the last step written; None: none was."""
        self.place = place
        self._client = client
        self._run_id = run_id
        self._say = say
        self._branch: int | None = None
        self._after = 0
        """Position on `_branch` up to which everything is written."""

    def look(self) -> list[HistoryRow]:
        """All steps that are there and not written, the oldest first. The last may still grow."""
        info = self._client.run(self._run_id)
        if info.branch != self._branch or info.position < self._after:
            self._after = self._written(info)
            self._branch = info.branch
        rows = list(history.steps(self._client, self._run_id, self._after))
        restored_meanwhile = bool(rows) and rows[-1].branch > info.branch
        return self.look() if restored_meanwhile else rows

    def wrote(self, row: HistoryRow) -> None:
        """The step is written, and all before it."""
        self.place = Place(row.branch, row.position)
        self._after = row.position

    def _written(self, info: RunInfo) -> int:
        """Position on the run's present branch up to which everything is written."""
        if self.place is None:
            return 0
        if self.place > (info.branch, info.position):
            self._say(f"{self._run_id} is another run of that name: from its beginning.")
            return 0
        if self.place.branch == info.branch:
            return self.place.position
        rows = history.steps(self._client, self._run_id)
        position = max((row.position for row in rows if (row.branch, row.position) <= self.place), default=0)
        self._say(f"{self._run_id} was restored to an earlier position: on from {position}, on branch {info.branch}.")
        return position
