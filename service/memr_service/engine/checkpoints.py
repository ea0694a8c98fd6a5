"""Checkpoints: names for positions of a run, and the ways back to them (L13). Called by the run thread."""

from __future__ import annotations

from collections.abc import Iterator

from memr_client.errors import Conflict, UnknownCheckpoint
from memr_client.schemas import Checkpoint, RunInfo

from memr_service.engine.run_copies import RunCopies
from memr_service.engine.run_registry import RunRegistry, now
from memr_service.run.run import Run
from memr_service.store.base import StoredCheckpoint
from memr_service.store.capabilities import Store
from memr_service.store.lineage import lineage

MOST_CHECKPOINTS = 10_000
"""Most checkpoints of a run."""
MOST_NAMED = 20
"""Most names that an error lists."""


class Checkpoints:
    """The checkpoints of a store's runs."""

    def __init__(self, store: Store, registry: RunRegistry, copies: RunCopies) -> None:
        self._store = store
        self._registry = registry
        self._copies = copies

    def create(self, run: Run, name: str, step: int | None = None) -> Checkpoint:
        """Create a checkpoint of the run's present position; a name that exists moves. Nothing is copied.

        Raises:
            Conflict: the run has as many checkpoints as a run may have.
        """
        known = {one.name for one in self._store.checkpoints.all(run.uid)}
        if name not in known and len(known) >= MOST_CHECKPOINTS:
            raise Conflict(
                f"Run {run.stored.run_id!r} has {len(known)} checkpoints, and a run has at most {MOST_CHECKPOINTS}.",
                value=len(known),
                limit=MOST_CHECKPOINTS,
                remedy="Delete checkpoints that are no longer needed, or move one: use its name again.",
            )
        stored = StoredCheckpoint(name, run.journal.branch, run.state.position, step, now())
        self._store.checkpoints.set(run.uid, stored)
        return Checkpoint(**vars(stored))

    def all(self, run: Run) -> list[Checkpoint]:
        """A run's checkpoints on all its branches, the oldest first."""
        return [Checkpoint(**vars(stored)) for stored in self._store.checkpoints.all(run.uid)]

    def delete(self, run: Run, name: str) -> None:
        """Remove a name; the history it named stays.

        Raises:
            UnknownCheckpoint: there is no checkpoint of that name.
        """
        self._find(run, name)
        self._store.checkpoints.delete(run.uid, name)

    def restore(self, run: Run, name: str) -> RunInfo:
        """Bring the run back to a checkpoint, on a new branch; the abandoned branch stays readable.

        Raises:
            UnknownCheckpoint: there is no checkpoint of that name.
        """
        checkpoint = self._find(run, name)
        run.live.close()
        self._store.journal.add_branch(run.uid, checkpoint.branch, checkpoint.position)
        self._registry.forget(run)
        return self._registry.get(run.stored.run_id).info()

    def fork(self, run: Run, name: str | None = None) -> Iterator[bytes]:
        """The run as it was at a checkpoint (None: as it is now), request ids included, as the file of a new run.

        Raises:
            UnknownCheckpoint: there is no checkpoint of that name.
        """
        if name is None:
            return self._copies.fork(run, run.journal.lineage, run.state.position)
        checkpoint = self._find(run, name)
        spans = lineage(self._store.journal.branches(run.uid), checkpoint.branch, checkpoint.position)
        return self._copies.fork(run, spans, checkpoint.position)

    def _find(self, run: Run, name: str) -> StoredCheckpoint:
        known = {one.name: one for one in self._store.checkpoints.all(run.uid)}
        if name not in known:
            raise UnknownCheckpoint(
                f"Run {run.stored.run_id!r} has no checkpoint {name!r}.",
                value=name,
                limit=list(known)[-MOST_NAMED:],
                remedy=f"List them with GET /runs/{run.stored.run_id}/checkpoints (client.checkpoints()).",
            )
        return known[name]
