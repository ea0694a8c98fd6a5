"""Patience with a busy service, for trainers that give up a training, or a rollout, after an error."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

from fastapi import Request, Response
from memr_client.errors import Overloaded, ProblemError, Unavailable, UnknownRun
from memr_client.schemas import RewardRequest

from memr_service.app.context import Context
from memr_service.engine.barriers import HeldElsewhere
from memr_service.run.response import Response as Rewarded

logger = logging.getLogger("memr.app")

PATIENCE_S = 150.0
"""Seconds for which a busy service is tried again. OpenRLHF disconnects after 180 s and gives up after five errors in a
row."""


@contextlib.contextmanager
def refusals_logged(trainer: str, run_id: str, unknown_run: Callable[[str], UnknownRun]) -> Iterator[None]:
    """Log why a request is refused, because the trainer shows its user only the status.

    Args:
        unknown_run: what is raised if there is no run of a name.
    """
    try:
        yield
    except HeldElsewhere:
        raise
    except ProblemError as problem:
        if isinstance(problem, UnknownRun):
            problem = unknown_run(run_id)
        logger.warning("%s's request was refused: %s", trainer, problem.in_one_line)
        raise problem from None


async def at_the_holder(
    run_id: str, request: Request, context: Context, respond: Callable[[], Awaitable[Response]]
) -> Response:
    """The response of this replica, or of the one that holds the run's barrier.

    Args:
        respond: this replica's response.

    Raises:
        UnknownRun: there is no such run.
        HeldElsewhere: no replica that holds the barrier could be reached in time.
    """
    arrived = time.monotonic()
    while True:
        try:
            await context.service.barriers.of(await context.service.runs.get(run_id))
            return await respond()
        except HeldElsewhere as elsewhere:
            with contextlib.suppress(HeldElsewhere):
                return await context.forward(request, elsewhere)
            if time.monotonic() - arrived > PATIENCE_S:
                raise
            await asyncio.sleep(1)


async def rewarded(
    asked: RewardRequest, context: Context, arrived: float, warnings: Sequence[str], waits: Callable[[], object]
) -> Rewarded:
    """The response to a reward request, which is tried again while the service is overloaded or unavailable.

    Args:
        arrived: `time.monotonic()` when the request came.
        warnings: what the caller should know about its body.
        waits: called when the request begins to wait for others.
    """
    while True:
        try:
            deadline = time.monotonic() + context.settings.deadline_s
            return await context.service.reward(asked, deadline, 0.0, warnings, waits)
        except HeldElsewhere:
            raise
        except (Overloaded, Unavailable) as busy:
            if context.lifecycle.state != "serving" or time.monotonic() - arrived > PATIENCE_S:
                raise
            await asyncio.sleep(busy.retry_after or 1)
