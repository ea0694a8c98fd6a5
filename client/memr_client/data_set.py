"""`DataSet`: the prompts of a data set as a run's pool, and plans from it by row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from memr_client.client import RewardClient
from memr_client.plain import plain


class DataSet:
    """The distinct prompts of a data set. Of rows with one prompt, the first stands for it."""

    def __init__(self, prompts: Sequence[Any], prompt_ids: Sequence[Any] | None = None) -> None:
        """`prompts` (m): texts or chats. `prompt_ids` (m): what rewards are asked with; None: texts alone."""
        prompts = plain(prompts)
        named = prompts if prompt_ids is None else plain(prompt_ids)
        first: dict[str, int] = {}
        for row, name in enumerate(named):
            first.setdefault(str(name) if isinstance(name, str | int) else json.dumps(name, sort_keys=True), row)
        # Without ids a row's number is its id, and the service finds its prompt by the text.
        self._row_of = first if prompt_ids is not None else {str(row): row for row in first.values()}
        self._prompts = [prompts[row] for row in first.values()]

    def __len__(self) -> int:
        return len(self._row_of)

    def set_pool(self, client: RewardClient, run_id: str | None) -> None:
        """Make these prompts the run's pool. Nothing changes if they are its pool already."""
        client.set_pool(run_id, [*self._row_of], self._prompts)

    def plan(
        self, client: RewardClient, run_id: str | None, n: int, group_size: int, in_flight: Sequence[str], **fields: Any
    ) -> list[str]:
        """Ids of the n prompts to sample next.

        Args:
            in_flight: ids that are being sampled, the newest last. If the pool is too small, the oldest are picked
                again.
            fields: see `PlanRequest`.
        """
        spare = max(len(self) - n, 0)
        exclude = [*in_flight][-spare:] if spare else []
        plan = client.plan(run_id, n, group_size, exclude=exclude, **fields)
        return [pick.prompt_id for pick in plan.picks]

    def rows(self, ids: Sequence[str]) -> list[int]:
        """The row of each id."""
        return [self._row_of[one] for one in ids]

    def has(self, ids: Sequence[str]) -> bool:
        """Whether all these ids are of the data set."""
        return all(one in self._row_of for one in ids)
