"""A run used without a service."""

from __future__ import annotations

from collections.abc import Sequence

from memr_service.run.run import Committed, Run, Submission
from memr_service.state.record import Batch


def rewarded(
    run: Run, batch: Batch, submissions: Sequence[Submission] = (Submission(),), expired: Sequence[bytes] = ()
) -> Committed:
    """`Run.reward`, with the record applied, as the run thread does before whatever it is asked next."""
    committed = run.respond(run.reward(batch, submissions, expired))
    run.live.settle()
    return committed
