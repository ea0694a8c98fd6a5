"""What a new run takes over from earlier runs: of each prompt their counts of right and wrong completions, the answers
that were given, and decisions about its reference."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from memr_client.errors import InvalidRequest, Unavailable
from memr_client.schemas import PriorRun, RunConfig

from memr_service.engine.run_thread import RunThread
from memr_service.run.run import Run
from memr_service.state.answers import Answers, EarlierRun, Given, Prompt, packed_earlier, top
from memr_service.state.codec import unseal
from memr_service.state.decisions import Decision, Decisions
from memr_service.state.pass_rates import KEY_BYTES, TEXT_BYTES, PassRates
from memr_service.store.base import StoredRecord
from memr_service.store.capabilities import Store
from memr_service.verifiers.equality import form

AT_ONCE = 16
"""Records that are read in one visit to the run thread."""


class PriorRuns:
    """Reads what runs that exist know of prompts, for a run that is to be created."""

    def __init__(self, get: Callable[[str], Awaitable[Run]], thread: RunThread, store: Store) -> None:
        self._get = get
        self._thread = thread
        self._store = store

    async def gathered(self, run_id: str, config: RunConfig) -> dict[str, dict[str, np.ndarray]] | None:
        """What the config's prior runs know, added up, as `setting_up` takes it; None without any.

        Args:
            run_id: the run that is to be created.

        Raises:
            UnknownRun, InvalidRequest: a prior run, or a checkpoint of it, does not exist or cannot be counted.
        """
        if not config.prior_runs:
            return None
        if any(prior.run == run_id for prior in config.prior_runs):
            raise InvalidRequest(
                f"Run {run_id!r} cannot be a prior run of itself.",
                value=run_id,
                remedy="Give the new run another name.",
            )
        known = _Together()
        for prior in config.prior_runs:
            found = await self._of(prior, config.success_threshold)
            await asyncio.to_thread(known.add, prior, found)
        return known.arrays()

    async def _of(self, prior: PriorRun, threshold: float) -> _Known:
        """What a run knows."""
        run = await self._get(prior.run)
        upto = await self._thread.on_run(run, _end, prior, self._store)
        if run.config.success_threshold == threshold and prior.at in ("first", "last"):
            known = await self._thread.on_run(run, _known)
            if known is not None:
                return known
        return await self._folded(run, prior, threshold, upto)

    async def _folded(self, run: Run, prior: PriorRun, threshold: float, upto: int) -> _Known:
        """What a run's journal says under this threshold, up to a position.

        What the run's own prior runs knew is part of it if it was counted under the same threshold.

        Raises:
            InvalidRequest: the journal is bounded, so it does not begin with the run. Unavailable: it ended early.
        """
        if run.stored.base or await self._thread.on_run(run, lambda run: run.journal.base):
            raise InvalidRequest(
                f"Run {prior.run!r} cannot be a prior run here: its bounded journal has dropped the first records.",
                value=prior.at,
                limit="first or last, under the same success_threshold, of a run of law 3 or later",
                remedy=f"Use success_threshold={run.config.success_threshold} and at='first' or at='last'.",
            )
        fold = _Fold(threshold, run.config.group_size, run.config.success_threshold == threshold)
        records = await self._thread.on_run(run, lambda run: run.journal.records(upto))
        while some := await self._thread.ask(_next, records, run_id=prior.run):
            await asyncio.to_thread(fold.add, some)
        if fold.position != upto:
            raise Unavailable(
                f"Prior run {prior.run!r} was deleted or restored while it was counted.",
                value=fold.position,
                limit=upto,
                remedy="Try again.",
                retry_after=1,
            )
        return fold.known()


@dataclass(frozen=True)
class _Known:
    """What one run knows: rows of pass rates, prompts of answers as bytes, the runs that these name, decisions."""

    rates: np.ndarray
    answers: dict[bytes, bytes]
    runs: list[EarlierRun]
    decisions: Decisions


class _Fold:
    """What a journal says, record by record."""

    def __init__(self, threshold: float, group_size: int | None, with_prior: bool) -> None:
        """`with_prior`: whether the pass rates that the run started from count."""
        self._with_prior = with_prior
        self._rates = PassRates(threshold, group_size)
        self._answers = Answers(threshold, group_size)
        self._decisions = Decisions([])

    @property
    def position(self) -> int:
        """The position of the newest record."""
        return self._rates.position

    def add(self, records: Sequence[StoredRecord]) -> None:
        """Follow records."""
        for stored in records:
            record = unseal(stored.payload)
            batch = record.batch
            counted = record.scored
            self._rates.follow(counted if self._with_prior else replace(counted, prior=None), stored.position)
            self._answers.follow(batch, stored.position, record.first_serial)
            if batch.decisions is not None:
                self._decisions = Decisions.of(**batch.decisions)

    def known(self) -> _Known:
        """What they say together."""
        return _Known(self._rates.used, self._answers.packed(), self._answers.runs, self._decisions)


class _Together:
    """What several runs know, added up. Of two prompts of one id, the one that comes first stays."""

    def __init__(self) -> None:
        self._counts: dict[bytes, list[float]] = {}
        self._texts: dict[bytes, bytes] = {}
        self._by_text: dict[bytes, bytes] = {}
        self._runs: dict[str, EarlierRun] = {}
        self._answers: dict[bytes, Prompt] = {}
        self._decisions: dict[bytes, Decision] = {}

    def add(self, prior: PriorRun, known: _Known) -> None:
        """Add what a run knows."""
        names = ("first_right", "first_wrong") if prior.at == "first" else ("right", "wrong")
        visited = known.rates[known.rates["visits"] > 0]
        right, wrong = (visited[name].astype(np.float64) for name in names)
        columns = visited["key"], visited["text"], right.tolist(), wrong.tolist()
        for key, text, one, other in zip(*columns, strict=True):
            if (name := self._name(key.tobytes(), text.tobytes())) is not None:
                total = self._counts.setdefault(name, [0.0, 0.0])
                total[0] += prior.weight * one
                total[1] += prior.weight * other
        prompts = {key: Prompt.unpack(data) for key, data in known.answers.items()}
        good, n = _judged(prompts.values())
        if not n:  # it was given no references
            good, n = right.sum().item(), (right + wrong).sum().item()
        own = EarlierRun(prior.run, good, n)
        runs = {one.name: one for one in (own, *known.runs) if one.name not in self._runs}
        self._runs |= runs
        self._add_answers(known, prompts, prior.run, runs)
        for decision in known.decisions:
            self._decisions.setdefault(self._by_text.get(decision.text, decision.key), decision)

    def arrays(self) -> dict[str, dict[str, np.ndarray]]:
        """All of it, as `setting_up` takes it."""
        texts = b"".join(self._texts.get(key, bytes(TEXT_BYTES)) for key in self._counts)
        found: dict[str, dict[str, np.ndarray]] = {
            "prior": {
                "keys": np.frombuffer(b"".join(self._counts), np.uint8).reshape(-1, KEY_BYTES),
                "texts": np.frombuffer(texts, np.uint8).reshape(-1, TEXT_BYTES),
                "right": np.array([right for right, _ in self._counts.values()], np.float64),
                "wrong": np.array([wrong for _, wrong in self._counts.values()], np.float64),
            }
        }
        if self._answers:
            prompts = [(key, one.text, one.name, one.reference, one.earlier) for key, one in self._answers.items()]
            found["prior_answers"] = packed_earlier([*self._runs.values()], prompts)
        if self._decisions:
            found["decisions"] = Decisions([*self._decisions.values()]).arrays()
        return found

    def _add_answers(
        self, known: _Known, prompts: Mapping[bytes, Prompt], run: str, runs: Mapping[str, EarlierRun]
    ) -> None:
        """Add the answers of a run, and those of earlier runs among `runs`."""
        numbers = {name: number for number, name in enumerate(self._runs)}
        for key, theirs in prompts.items():
            name = self._name(key, theirs.text)
            if name is None:
                continue
            ours = self._answers.setdefault(name, Prompt(theirs.text))
            ours.name = ours.name or theirs.name
            ours.reference = ours.reference or theirs.reference
            own = theirs.tallies if run in runs else []
            given = [Given(numbers[run], one.answer, one.times, one.visits) for one in own]
            for one in map(Given._make, theirs.earlier):
                if (other := known.runs[one.run].name) in runs and other != run:
                    given.append(one._replace(run=numbers[other]))
            for number in dict.fromkeys(one.run for one in given):
                ours.earlier += top(given, number)

    def _name(self, key: bytes, text: bytes) -> bytes | None:
        """The key under which a prompt is known here; None if it is another prompt of an id that is in use."""
        name = self._by_text.get(text, key)
        if any(text) and any(self._texts.get(name, b"")) and self._texts[name] != text:
            return None
        if any(text):
            self._texts[name] = text
            self._by_text.setdefault(text, name)
        return name


def _judged(prompts: Iterable[Prompt]) -> tuple[float, float]:
    """How many completions gave the references of their prompts, and how many there are of such prompts."""
    right = n = 0.0
    for prompt in prompts:
        if prompt.reference is not None:
            reference = form(prompt.reference)
            n += sum(one.times for one in prompt.tallies)
            right += sum(one.times for one in prompt.tallies if form(one.answer) == reference)
    return right, n


# In the run thread


def _end(run: Run, prior: PriorRun, store: Store) -> int:
    """The position up to which a prior run counts."""
    if prior.at in ("first", "last"):
        return run.state.position
    for one in store.checkpoints.all(run.uid):
        if one.name == prior.at and run.journal.holds(one.branch, one.position):
            return one.position
    raise InvalidRequest(
        f"Prior run {prior.run!r} has no checkpoint {prior.at!r} on its history.",
        value=prior.at,
        limit=["first", "last", *(one.name for one in store.checkpoints.all(run.uid))][:20],
        remedy="Use at='first', at='last', or the name of a checkpoint.",
    )


def _known(run: Run) -> _Known | None:
    state = run.state
    if state.pass_rates is None:
        return None
    answers, runs = ({}, []) if state.answers is None else (state.answers.packed(), state.answers.runs)
    return _Known(state.pass_rates.used.copy(), answers, runs, state.decisions)


def _next(records: Iterator[StoredRecord]) -> list[StoredRecord]:
    return [*islice(records, AT_ONCE)]
