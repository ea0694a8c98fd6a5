"""A run's records scored again: their inputs alone, on a fresh state, by the very function that scored them first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from memr_client.errors import InvalidRequest
from memr_client.schemas import RunConfig

from memr_service.rewards.score import score
from memr_service.run.presets import differences, resolve
from memr_service.state.record import Effects, IndexChange, Record
from memr_service.state.state import State
from memr_service.store.base import Snapshot

RECORDED = {
    "barrier",
    "group_size",
    "barrier_timeout_s",
    "encoder",
    "precision",
    "deterministic",
    "reasoning_tags",
    "long_text",
    "storage",
    "verifier",
    "memory_weight",
    "prompt_pattern",
    "store_text",
}
"""Fields whose work was done before the record was made: they are in its embeddings, outcomes and items."""

READ = {
    "k",
    "window",
    "scaling",
    "center",
    "min_similarity",
    "success_threshold",
    "failure_threshold",
    "explore_warmup_prompts",
    "explore_warmup_steps",
    "max_spread",
    "equal_spread",
}
"""Fields that no snapshot has anything of: all that can change where a journal begins with one."""


@dataclass(frozen=True)
class Replayed:
    """A record, and what it does when it is scored again."""

    record: Record
    effects: Effects


def what_if(recorded: RunConfig, given: RunConfig, *, bounded: bool) -> RunConfig:
    """The config that a replay is asked for: the fields that were given on top of the preset's or the run's own.

    Args:
        recorded: the run's config.
        given: a config of which only the fields that were set count.
        bounded: whether the journal begins with a snapshot.

    Raises:
        InvalidRequest: a field was given another value that cannot be changed after the fact.
    """
    fixed = set(RunConfig.model_fields) - READ if bounded else RECORDED
    asked = {name: getattr(given, name) for name in given.model_fields_set}
    wrong = sorted(name for name in asked.keys() & fixed if asked[name] != getattr(recorded, name))
    if wrong:
        raise InvalidRequest(
            f"A replay of this run cannot change {', '.join(wrong)}: "
            + ("its bounded journal begins with a memory." if bounded else "its journal was made with what it has."),
            value={name: asked[name] for name in wrong},
            limit={name: getattr(recorded, name) for name in wrong},
            remedy="Leave these out; what they change needs another run over the same completions.",
        )
    kept = set(RunConfig.model_fields) if "preset" not in asked else fixed
    fields = {name: getattr(recorded, name) for name in kept} | asked
    assert recorded.encoder is not None
    return resolve(RunConfig(**fields), recorded.preset, recorded.encoder)


def replay(
    recorded: RunConfig, config: RunConfig, records: Iterable[Record], base: Snapshot | None = None
) -> Iterator[Replayed]:
    """Each record with what it does under `config`, in order; a record's own effects play no part in the next one's.

    Args:
        recorded: the run's config; with the same one every effect comes out bit for bit.
        base: the state that the records follow, where they do not begin at 1.
    """
    state = State(config)
    if base is not None:
        state.restore(base.branch, base.position, base.arrays)
    own = not differences(recorded, config)
    for record in records:
        scored = score(state, record.batch, write=True, expired=_expired(state, record))
        # The run took its graphs into use when they were built, which the record tells; any other state has its own.
        index = record.effects.index if own else [*_index_changes(state)]
        effects = replace(scored, index=index, warnings=record.effects.warnings)
        yield Replayed(record, effects)
        state.apply(replace(record, effects=effects, first_serial=state.serial))


def _expired(state: State, record: Record) -> list[bytes]:
    """Groups that the record closed because their time was up: those it names after the ones its items completed."""
    size, batch = state.config.group_size, record.batch
    if not record.effects.closes or size is None:
        return []
    arrived = Counter(batch.group_names[number] for number in batch.group.tolist())
    completed = sum((len(state.open_groups.get(name, ())) + count) // size for name, count in arrived.items())
    return record.effects.closes[completed:]


def _index_changes(state: State) -> Iterator[IndexChange]:
    """A graph that is due is built on the spot."""
    for name, index in state.indices().items():
        if wanted := index.next_graph():
            yield IndexChange(name, "build", *wanted)
            yield IndexChange(name, "swap", *wanted)
