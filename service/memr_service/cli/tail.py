"""`Tail`: the steps that were added to a run's history since the last look."""

from __future__ import annotations

from collections.abc import Callable

from memr_client import RewardClient
from memr_client.schemas import HistoryRow, RunInfo

from memr_service.cli import history
from memr_service.cli.sinks import RunPosition

Say = Callable[[str], None]


class Tail:
    """The steps of a run that are not written yet. It follows restores of the run.

    Args:
        written: position of the last step written; None if there is none.
        say: called with messages for the user.
    """

    def __init__(self, client: RewardClient, run_id: str, written: RunPosition | None, say: Say) -> None:
        self.written = written
        self._client = client
        self._run_id = run_id
        self._say = say
        self._branch: int | None = None
        self._after = 0
        """Position on `_branch` of the last step written."""

    def look(self) -> list[HistoryRow]:
        """All existing steps that are not written, oldest first. The last one may still grow."""
        info = self._client.run(self._run_id)
        if info.branch != self._branch or info.position < self._after:
            self._after = self._last_written(info)
            self._branch = info.branch
        rows = list(history.steps(self._client, self._run_id, self._after))
        restored_meanwhile = bool(rows) and rows[-1].branch > info.branch
        return self.look() if restored_meanwhile else rows

    def wrote(self, row: HistoryRow) -> None:
        """Record that this step and all before it are written."""
        self.written = RunPosition(row.branch, row.position)
        self._after = row.position

    def _last_written(self, info: RunInfo) -> int:
        """Position on the run's current branch of the last step written."""
        if self.written is None:
            return 0
        if self.written > (info.branch, info.position):
            self._say(f"{self._run_id} is now another run with this name: starting from its beginning.")
            return 0
        if self.written.branch == info.branch:
            return self.written.position
        rows = history.steps(self._client, self._run_id)
        position = max((row.position for row in rows if (row.branch, row.position) <= self.written), default=0)
        self._say(
            f"{self._run_id} was restored to an earlier position: continuing after {position}, on branch {info.branch}."
        )
        return position
