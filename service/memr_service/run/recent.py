"""A run's newest steps at a glance, from the columns of its last records, without opening the run."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
from memr_client.errors import ProblemError
from memr_client.schemas import Recent

from memr_service.run import history
from memr_service.run.journal import RunJournal
from memr_service.store.base import StoredRun
from memr_service.store.capabilities import Store

RECORDS = 48
"""Records that are read."""
STEPS = 24
"""Steps that are told, at most."""


def recent(stored: StoredRun, store: Store, position: int) -> Recent | None:
    """The newest steps of a run whose last record is `position`; None if there are none, or none that can be read."""
    try:
        journal = RunJournal(stored, store)
        steps = [*history.steps(journal.columns(max(0, position - RECORDS)))][-STEPS:]
    except (ProblemError, ValueError):
        return None
    if not steps:
        return None
    outcomes = [np.concatenate([one.outcomes for one in same]) for same in steps]
    rewards = [np.concatenate([one.rewards for one in same]) for same in steps]
    return Recent(
        at=datetime.fromtimestamp(steps[-1][-1].at, timezone.utc).isoformat(timespec="seconds"),
        outcome=[round(history.average(one), 6) for one in outcomes],
        reward=[round(history.average(one), 6) for one in rewards],
    )
