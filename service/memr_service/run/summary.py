"""What is stored about a run, without opening it: the run itself and its last record."""

from __future__ import annotations

import orjson
from memr_client.errors import ProblemError, UnknownRun
from memr_client.schemas import MemorySize, MemorySizes, RunConfig, RunInfo

from memr_service.run.journal import RunJournal
from memr_service.state.codec import unseal
from memr_service.state.record import GENESIS
from memr_service.store.base import StoredRun
from memr_service.store.capabilities import Store

NOTHING = {"success": [0, 0], "failure": [0, 0]}
"""Sizes of memories that no record has filled."""


def summary(stored: StoredRun, store: Store) -> RunInfo:
    """Describe a run that is not in memory. `windows` is empty, and `step` that of the last record.

    What cannot be read is left at its default, and `damaged` says why.

    Raises:
        UnknownRun: the run was deleted.
    """
    damaged: list[str] = []
    config, encoder = RunConfig(), None
    try:
        config = RunConfig.model_validate_json(stored.config)
        encoder = None if stored.encoder is None else orjson.loads(stored.encoder)
    except ValueError:
        damaged.append("Its config cannot be read.")
    branch, position, chain, step, dimension, sizes = 0, stored.base, GENESIS, None, None, NOTHING
    try:
        journal = RunJournal(stored, store)
        branch = journal.branch
        if (last := journal.last()) is not None:
            record = unseal(last.payload)
            position, chain, step = last.position, record.chain, record.batch.step
            dimension, sizes = record.batch.dimension or None, record.effects.sizes
    except UnknownRun:
        raise
    except (ProblemError, ValueError) as error:
        reason = error.in_one_line if isinstance(error, ProblemError) else error
        damaged.append(f"Its last record cannot be read: {reason}")
    return RunInfo(
        run_id=stored.run_id,
        config=config,
        branch=branch,
        position=position,
        chain=chain.hex(),
        step=step,
        memory=MemorySizes(**{side: MemorySize(prompts=size[0], completions=size[1]) for side, size in sizes.items()}),
        windows={},
        created_at=stored.created_at,
        encoder=encoder,
        dimension=dimension,
        damaged=" ".join(damaged) or None,
    )
