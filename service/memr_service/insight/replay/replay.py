"""Scores a run's records again: only their inputs, on a new state, by the function that scored them first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from memr_client.errors import InvalidRequest
from memr_client.schemas import RunConfig

from memr_service.rewards.score import score
from memr_service.run.new_runs import check_law
from memr_service.run.presets import combined, differences, resolve
from memr_service.state.law import LAW
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
    "unit",
    "combine_turns",
    "verifier",
    "memory_weight",
    "prompt_pattern",
    "extract",
    "prior_runs",
    "store_text",
}
"""Fields that cannot change: they took effect before the record was made, in its embeddings, outcomes and items."""

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
    "spread_of",
    "equal_spread",
}
"""Fields that a snapshot does not depend on: only these can change if the journal begins with one."""


@dataclass(frozen=True)
class Replayed:
    """A record, and its effects when it is scored again."""

    record: Record
    effects: Effects


def what_if(recorded: RunConfig, given: RunConfig, law: int = LAW, *, bounded: bool) -> RunConfig:
    """The config of a replay: the fields that were given, and the preset's or else the run's own for the others.

    Args:
        recorded: the run's config.
        given: a config of which only the fields that were set count.
        law: the one that the run was created under.
        bounded: whether the journal begins with a snapshot.

    Raises:
        InvalidRequest: a field was given a new value that a replay cannot give it, or that does not go with the run's
            other fields.
    """
    fixed = set(RunConfig.model_fields) - READ if bounded else RECORDED
    changed = {name: getattr(given, name) for name in given.model_fields_set}
    wrong = sorted(name for name in changed.keys() & fixed if changed[name] != getattr(recorded, name))
    if wrong:
        raise InvalidRequest(
            f"A replay of this run cannot change {', '.join(wrong)}: "
            + (
                "its bounded journal begins with a snapshot, which depends on them."
                if bounded
                else "its records were made with their values."
            ),
            value={name: changed[name] for name in wrong},
            limit={name: getattr(recorded, name) for name in wrong},
            remedy="Leave them out. To see their effect, score the same completions in another run.",
        )
    kept = set(RunConfig.model_fields) if "preset" not in changed else fixed
    fields = {name: getattr(recorded, name) for name in kept} | changed
    assert recorded.encoder is not None
    config = resolve(combined(fields), recorded.preset, recorded.encoder)
    check_law(config, law)
    return config


def replay(
    recorded: RunConfig, config: RunConfig, records: Iterable[Record], law: int, base: Snapshot | None = None
) -> Iterator[Replayed]:
    """Each record with its effects under `config`, in order. Its recorded effects do not influence the next record.

    Args:
        recorded: the run's config. With the same config every effect is reproduced bit for bit.
        law: the one that the run was created under.
        base: the state that the records follow, if they do not begin at position 1.
    """
    state = State(config, law=law)
    if base is not None:
        state.restore(base.branch, base.position, base.arrays)
    own = not differences(recorded, config)
    for record in records:
        scored = score(state, record.batch, write=True, expired=_expired(state, record))
        # The record says when the run began to use an index graph. A state of another config has graphs of its own.
        changes = record.effects.index_changes if own else [*_index_changes(state)]
        effects = replace(scored, index_changes=changes, warnings=record.effects.warnings)
        yield Replayed(record, effects)
        state.apply(replace(record, effects=effects, first_serial=state.serial))


def _expired(state: State, record: Record) -> list[bytes]:
    """Ids of the groups that the record closed because their time was up: they come after those its items completed."""
    size, batch = state.config.group_size, record.batch
    if not record.effects.closes or size is None:
        return []
    arrived = Counter(batch.group_names[number] for number in batch.group.tolist())
    completed = sum((len(state.open_groups.get(name, ())) + count) // size for name, count in arrived.items())
    return record.effects.closes[completed:]


def _index_changes(state: State) -> Iterator[IndexChange]:
    """Builds every graph that is due, and uses it from this record on."""
    for name, index in state.indexes.all().items():
        if wanted := index.next_graph():
            yield IndexChange(name, "build", *wanted)
            yield IndexChange(name, "swap", *wanted)
