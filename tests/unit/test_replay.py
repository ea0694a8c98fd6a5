"""The same config reproduces every bit; another config gives what a run of its own gives."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest, MalformedBody
from memr_client.schemas import ReplayResult, RunConfig
from memr_service.engine.run_copies import RunCopies
from memr_service.engine.run_registry import RunRegistry
from memr_service.insight.replay.difference import first_difference
from memr_service.insight.replay.replay import replay, what_if
from memr_service.insight.replay.worker import compare
from memr_service.memory.index import GraphSizes, Index
from memr_service.run import archive
from memr_service.run.live_state import Limits
from memr_service.run.presets import PRESETS, resolve
from memr_service.run.run import Run, Submission
from memr_service.state.codec import seal, unseal
from memr_service.state.law import LAW
from memr_service.state.pass_rates import KEY_BYTES
from memr_service.state.pool import Pool
from memr_service.state.record import Batch, Record
from memr_service.store.base import StoredRecord, StoredRun
from memr_service.store.sqlite import SqliteStore
from support.batches import config, make_batch, random_batch, unit_rows
from support.cases import slow_after
from support.runs import rewarded

NEVER = 1 << 60


@contextmanager
def opened(folder: Path | None, chosen: RunConfig, limits: Limits = Limits(NEVER)) -> Iterator[tuple[RunCopies, Run]]:
    """A run `run` over a store of its own."""
    store = SqliteStore(folder)
    if store.runs.find("run") is None:
        store.runs.create("run", chosen.model_dump_json(), LAW, None, "2026-01-01")
    with ThreadPoolExecutor(1) as background:
        runs = RunRegistry(store, background, limits)
        run = runs.find("run")
        assert run is not None
        yield RunCopies(store, runs), run
        runs.close()
    store.close()


def batches(seed: int, count: int = 30, storage: str = "float32") -> list[Batch]:
    rng = np.random.default_rng(seed)
    made = [random_batch(rng, prompts=7, n=int(rng.integers(1, 13)), storage=storage) for _ in range(count)]
    return [
        replace(one, step=number, answers=[str(item % 3) for item in range(len(one))])
        for number, one in enumerate(made)
    ]


def records_of(run: Run) -> list[Record]:
    return [unseal(stored.payload) for stored in run.journal.records()]


def chain_again(recorded: RunConfig, records: Sequence[Record]) -> bytes:
    """The chain that a replay's own effects make, from the first record on."""
    chain, serial = records[0].parent, records[0].first_serial
    for one in replay(recorded, recorded, records, LAW):
        sealed, _ = seal(replace(one.record, effects=one.effects, parent=chain, first_serial=serial))
        chain, serial = sealed.chain, serial + len(one.record.batch)
    return chain


CONFIGS: list[dict[str, Any]] = [
    *({"preset": preset} for preset in PRESETS),
    {"k": 3, "max_prompts": 4, "max_completions": 5},
    {"order": "read_first", "scaling": "request", "center": "group", "max_spread": 0.5},
    {"storage": "float16", "components": {"exploit": 1.0, "contrast": 0.5, "outcome_ucb": 1.0, "value": 1.0}},
    {"components": {"explore": {"weight": 1.0, "bounds": "p5-p95", "guards": {"topic_floor": 0.0, "cap": 0.5}}}},
]


@pytest.mark.parametrize("fields", slow_after(1, CONFIGS), ids=str)
def test_a_runs_own_config_reproduces_its_chain(fields: dict[str, Any]) -> None:
    chosen = config(**fields)
    with opened(None, chosen) as (_, run):
        for batch in batches(1, storage=chosen.storage):
            rewarded(run, batch)
        records = records_of(run)
        assert len(records) == 30
        assert chain_again(run.config, records) == run.state.chain
        assert [first_difference(one) for one in replay(run.config, run.config, records, LAW)] == [None] * 30


def test_a_prior_a_pool_and_forgotten_prompts_are_replayed_as_they_were_set() -> None:
    keys = [bytes([number]) * KEY_BYTES for number in range(1, 4)]
    counts = {"right": np.array([1.0, 0, 4]), "wrong": np.array([1.0, 4, 0])}
    known = {"keys": np.frombuffer(b"".join(keys), np.uint8).reshape(3, -1), "texts": np.zeros((3, 32), np.uint8)}
    with opened(None, config()) as (_, run):
        run.set_up(prior=known | counts)
        for number, batch in enumerate(batches(1, 12)):
            rewarded(run, batch)
            if number == 5:
                run.set_up(pool=Pool.of(["a", "b", "c"], keys, []).arrays())
                run.set_up(forget={"keys": known["keys"][:2]})
        records = records_of(run)
        assert len(records) == 15
        sets_up = [record.effects.baseline is None for record in records]
        assert sets_up == [True, *[False] * 6, True, True, *[False] * 6]
        assert chain_again(run.config, records) == run.state.chain
        assert run.state.pool is not None
        assert (run.state.pool_since, run.state.steps_committed) == (8, 12)


OTHERS: list[dict[str, Any]] = [{"k": 5}, {"preset": "official-memory-r+"}, {"success_threshold": 1.5}]


@pytest.mark.parametrize("fields", slow_after(1, OTHERS), ids=str)
def test_another_config_scores_as_a_run_that_had_it_from_the_start(fields: dict[str, Any]) -> None:
    first, other = config(), config(**{"explore_warmup_steps": 0, **fields})
    with opened(None, first) as (_, run), opened(None, other) as (_, real):
        for batch in batches(2):
            rewarded(run, batch)
            rewarded(real, batch)
        again = [one.effects.rewards for one in replay(first, other, records_of(run), LAW)]
        paid = [record.effects.rewards for record in records_of(real)]
    assert [one.tolist() for one in again] == [one.tolist() for one in paid]
    assert any(len(one) for one in paid)


def test_groups_over_several_records_and_expired_groups_are_reproduced() -> None:
    chosen = config(barrier="snapshot", group_size=3, explore_warmup_steps=2)
    rng = np.random.default_rng(3)
    with opened(None, chosen) as (_, run):
        for step in range(40):
            names = [f"prompt {number}" for number in rng.integers(6, size=int(rng.integers(1, 5)))]
            outcomes = rng.integers(2, size=len(names)).tolist()
            rewarded(run, make_batch(names, unit_rows(rng, len(names)), outcomes, step=step))
            if step % 7 == 6:
                run.expire(list(run.state.open_groups)[:2])
                run.live.settle()
        records = records_of(run)
        assert sum(len(record.batch) == 0 and bool(record.effects.closes) for record in records) >= 3
        assert chain_again(chosen, records) == run.state.chain
        # Should a batch close what its items completed and, with that, what had waited too long:
        waiting = list(run.state.open_groups)[:1]
        rewarded(run, make_batch(["another"] * 3, unit_rows(rng, 3), [0, 1, 0], step=99), [Submission()], waiting)
        assert len(records_of(run)[-1].effects.closes) == 2
        assert chain_again(chosen, records_of(run)) == run.state.chain


@pytest.fixture
def early_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs from 64 prompts on, and then for every 32."""
    begin, few = Index.__init__, GraphSizes(64, 32)
    monkeypatch.setattr(Index, "__init__", lambda self, dimension, margin, _: begin(self, dimension, margin, few))


@pytest.mark.slow
def test_index_graphs_are_used_from_the_record_that_says_so(early_graphs: None) -> None:
    chosen = config(k=4)
    rng = np.random.default_rng(4)
    names = iter(range(10_000))
    with opened(None, chosen) as (_, run):
        for _ in range(60):
            fresh = [f"prompt {next(names)}" for _ in range(10)]
            rewarded(run, make_batch(fresh, unit_rows(rng, 10), rng.integers(2, size=10).tolist()))
            for _, _, building in run.live._builds.begun.values():
                building.result()
        records = records_of(run)
        changes = {change.change for record in records for change in record.effects.index_changes}
        assert changes == {"build", "swap"}
        assert chain_again(chosen, records) == run.state.chain


@pytest.mark.slow
def test_a_state_of_another_config_builds_its_own_index_graphs(early_graphs: None) -> None:
    rng = np.random.default_rng(5)
    with opened(None, config()) as (_, run):
        for number in range(30):
            fresh = [f"prompt {number} {item}" for item in range(10)]
            rewarded(run, make_batch(fresh, unit_rows(rng, 10), [0.0] * 10))
        records = records_of(run)
        done = list(replay(config(), config(k=2), records, LAW))
    changes = [change.change for one in done for change in one.effects.index_changes]
    assert changes[:2] == ["build", "swap"]
    assert changes.count("build") == changes.count("swap") > 3


def test_a_bounded_journal_is_replayed_from_the_snapshot_it_begins_with(tmp_path: Path) -> None:
    with opened(tmp_path, config(), Limits(1 << 12, 1 << 14)) as (copies, run):
        for batch in batches(6, count=60):
            rewarded(run, batch)
            if run.live._saving is not None:
                run.live._saving.result()
        assert run.journal.base > 0
        result = compared(copies, run, [config(), config(k=3)])
        assert (result.first_position, result.position) == (run.journal.base + 1, 60)
        assert result.settings[0].difference is None
        assert result.settings[0].chain == run.state.chain.hex()
        with pytest.raises(InvalidRequest, match="max_prompts"):
            what_if(run.config, RunConfig(max_prompts=5), bounded=True)


def compared(copies: RunCopies, run: Run, settings: Sequence[RunConfig]) -> ReplayResult:
    file = io.BytesIO(b"".join(copies.export(run)))
    *_, last = compare(file, "run", settings, run.state.serial)
    assert last.result is not None
    return last.result


def test_the_first_difference_is_named(tmp_path: Path) -> None:
    with opened(None, config()) as (_, run):
        for batch in batches(7):
            rewarded(run, batch)
        records = records_of(run)
    rewards = records[11].effects.rewards.copy()
    rewards[1:] += 1e-9
    forged = replace(records[11], effects=replace(records[11].effects, rewards=rewards))
    found = [first_difference(one) for one in replay(config(), config(), [*records[:11], forged, *records[12:]], LAW)]
    (difference,) = [one for one in found if one is not None]
    assert (difference.position, difference.item, difference.field) == (12, 1, "rewards")
    assert difference.recorded - difference.replayed == pytest.approx(1e-9, rel=1e-3)


def test_a_forged_journal_is_detected_with_and_without_a_forged_chain(tmp_path: Path) -> None:
    with opened(None, config()) as (copies, run):
        for batch in batches(8):
            rewarded(run, batch)
        honest, stored = records_of(run), run.stored
        assert compared(copies, run, [config()]).settings[0].difference is None
    flipped = replace(honest[4].batch, outcomes=1 - honest[4].batch.outcomes)
    careless = [record if number != 4 else replace(record, batch=flipped) for number, record in enumerate(honest)]
    payloads = [seal(record)[1] for record in careless]
    with pytest.raises(MalformedBody, match="record 6"):
        verified(stored, payloads)
    chain, forged = honest[0].parent, []
    for record in careless:
        sealed, payload = seal(replace(record, parent=chain))
        chain, forged = sealed.chain, [*forged, payload]
    difference = verified(stored, forged).settings[0].difference
    assert difference is not None
    assert difference.position == 5


def verified(stored: StoredRun, payloads: Sequence[bytes]) -> ReplayResult:
    journal = (StoredRecord(0, number + 1, payload) for number, payload in enumerate(payloads))
    file = io.BytesIO(b"".join(archive.write(stored, journal)))
    *_, last = compare(file, "run", [RunConfig.model_validate_json(stored.config)], 0)
    assert last.result is not None
    return last.result


def test_settings_start_from_the_named_preset_or_else_from_the_run() -> None:
    recorded = config(k=7, max_completions=9)
    assert what_if(recorded, RunConfig(), bounded=False) == recorded
    assert what_if(recorded, RunConfig(window=5), bounded=False) == recorded.model_copy(update={"window": 5})
    named = what_if(recorded, RunConfig(preset="memory-r", window=5), bounded=False)
    assert (named.k, named.max_completions, list(named.components)) == (1, 100, ["exploit"])
    with pytest.raises(InvalidRequest, match=r"storage.*") as refused:
        what_if(recorded, RunConfig(storage="float16", k=3), bounded=False)
    assert refused.value.value == {"storage": "float16"}


def test_a_threshold_beyond_the_runs_other_is_refused() -> None:
    recorded = resolve(RunConfig(success_threshold=0.3, failure_threshold=0.3), "memory-r+", "hashed")
    with pytest.raises(InvalidRequest, match=r"failure_threshold 0\.4 is above success_threshold 0\.3"):
        what_if(recorded, RunConfig(failure_threshold=0.4), bounded=False)
