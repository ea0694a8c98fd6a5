"""Pools and plans of runs: which prompts to sample next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar

import numpy as np
from memr_client.errors import Conflict, InvalidRequest, UnknownPrompt
from memr_client.schemas import Pick, Plan, PlanRequest, PoolInfo, PoolRequest, PriorOutcomes, Retired, Text
from scipy.special import betaincinv

from memr_service.engine.inputs import identity, key_of_id, text_digests
from memr_service.engine.pool_uploads import PoolUploads, joined
from memr_service.engine.readers import Gate
from memr_service.engine.run_api import RunApi
from memr_service.engine.run_registry import RunRegistry
from memr_service.engine.run_thread import RunThread
from memr_service.engine.shared_thread import SharedThread
from memr_service.planning.candidates import ABSENT, Candidates
from memr_service.planning.plan import Known, Picks, choose, known_after
from memr_service.run.run import Run
from memr_service.state.law import PASS_RATES
from memr_service.state.pass_rates import KEPT, KEY_BYTES, TEXT_BYTES, PassRates
from memr_service.state.pool import MOST_IN_POOL, Pool

T = TypeVar("T")

INTERVAL = (0.05, 0.95)
"""Quantiles of the pass rate that a pick names."""
MANY = 10_000
"""Work on more prompts than these is done by turns. Plans that choose from more sent candidates, or pick more prompts,
are made one after another."""
DIGITS = 6
"""Decimals of the probabilities in a plan."""


class Planner:
    """Sets the pools of runs, and plans from them. Called from one event loop."""

    def __init__(self, runs: RunApi, registry: RunRegistry, thread: RunThread) -> None:
        self._runs = runs
        self._thread = thread
        self._candidates: dict[int, Candidates] = {}  # by run
        self._uploads = PoolUploads()
        self._turns = SharedThread("memr-plans")  # for many prompts
        self._large = Gate("plans of many prompts", 1, 8)  # each has its candidates in memory
        registry.on_forget.append(self._forget)

    async def close(self) -> None:
        """End the thread for plans, once what has begun is finished."""
        await asyncio.wrap_future(self._turns.end(_nothing))

    async def set_pool(
        self, run_id: str, given: PoolRequest, part: int = 0, parts: int = 1, upload: str = ""
    ) -> PoolInfo:
        """Give a run a pool; one that comes in several parts takes effect with the last. Nothing changes if the
        run has this pool.

        Raises:
            UnknownRun. Conflict: the run has no pass rates, or the upload has another number of parts.
            InvalidRequest: an id comes twice. TooLarge: the parts are more than a pool.
        """
        run = await self._with_pass_rates(run_id)
        pool = await self._work(run, len(given.prompt_ids), pool_of, given.prompt_ids, given.prompts)
        if parts > 1:
            whole = self._uploads.add(run.uid, upload, part, parts, pool)
            if whole is None:
                return await self.pool(run_id)
            pool = await self._work(run, MOST_IN_POOL, _joined, whole)
        digest = await self._work(run, len(pool), pool.digest)
        await self._runs.set_up(run_id, partial(_has_another_pool, digest=digest), pool=pool.arrays())
        return await self.pool(run_id)

    async def delete_pool(self, run_id: str) -> None:
        """Take a run's pool away.

        Raises:
            UnknownRun. Conflict: the run has no pass rates.
        """
        self._uploads.forget((await self._with_pass_rates(run_id)).uid)
        nothing = Pool.of([], [], []).arrays()
        await self._runs.set_up(run_id, partial(_has_another_pool, digest=None), pool=nothing)

    async def pool(self, run_id: str) -> PoolInfo:
        """What a run's pool is.

        Raises:
            UnknownRun. Conflict: the run has no pass rates.
        """
        run = await self._with_pass_rates(run_id)
        waiting = self._uploads.waiting(run.uid)
        pool = await self._thread.on_run(run, _pool)
        if pool is None:
            since = await self._thread.on_run(run, lambda run: run.state.pool_since)
            return PoolInfo(prompts=0, digest=None, since=since, visited=0, prior=0, waiting=waiting)
        candidates = await self._of(run, pool)
        since, visited, prior = await self._thread.on_run(run, _counts, candidates)
        warnings = []
        if run.config.prior_runs and not prior and not visited:
            warnings = [f"The prior runs know none of the pool's {len(pool)} prompts, by id or by text."]
        digest = await self._work(run, len(pool), pool.digest)
        return PoolInfo(
            prompts=len(pool),
            digest=digest,
            since=since,
            visited=visited,
            prior=prior,
            waiting=waiting,
            warnings=warnings,
        )

    async def candidates(self, run_id: str) -> Candidates | None:
        """A run's pool, ready to be searched; None if it has none.

        Raises:
            UnknownRun. Conflict: the run has no pass rates.
        """
        run = await self._with_pass_rates(run_id)
        pool = await self._thread.on_run(run, _pool)
        return None if pool is None else await self._of(run, pool)

    async def forget(self, run_id: str, key: bytes) -> None:
        """Forget what a run knows of a prompt, as if it had never been visited. Its completions stay.

        Raises:
            UnknownRun. UnknownPrompt: the run knows nothing of it. Conflict: the run has no pass rates.
        """
        await self._with_pass_rates(run_id)
        keys = np.frombuffer(key, np.uint8).reshape(1, -1)
        await self._runs.set_up(run_id, partial(_require_known, key=key), forget={"keys": keys})

    async def add_prior(self, run_id: str, given: PriorOutcomes) -> int:
        """Let a run without completions start from counts, and return of how many prompts it knows something now.
        Nothing changes if the run starts from these.

        Raises:
            UnknownRun. Conflict: the run has completions, or no pass rates. InvalidRequest: a prompt comes twice.
        """
        run = await self._with_pass_rates(run_id)
        prior = await self._work(run, len(given.n), _prior_of, given)
        await self._runs.set_up(run_id, partial(_require_new, prior=prior), prior=prior)
        return len(given.n)

    async def plan(self, run_id: str, asked: PlanRequest) -> Plan:
        """Which prompts to sample next.

        Raises:
            UnknownRun. Conflict: the run has no pass rates or no pool, or the position is gone or before the pool.
            InvalidRequest: more prompts are asked for than there are, or a candidate comes twice. Overloaded: too many
            plans of many prompts wait.
        """
        run = await self._with_pass_rates(run_id)
        sent = len(asked.candidates or [])
        async with nullcontext() if max(asked.n, sent) <= MANY else self._large.entered():
            if asked.candidates is not None:
                candidates = await self._work(run, sent, _candidates_of, asked.candidates, asked.prompts)
                position, rates = await self._thread.on_run(run, _copied, asked.position)
                known = await self._work(run, max(sent, len(rates)), known_after, rates, candidates, position)
            else:
                pool = await self._thread.on_run(run, _pool)
                if pool is None:
                    raise Conflict(
                        f"Run {run_id!r} has no pool.",
                        remedy="Set one with PUT /runs/{id}/pool (client.set_pool), or send candidates.",
                    )
                candidates = await self._of(run, pool)
                position, known = await self._thread.on_run(run, _known_of_pool, candidates, asked.position)
            return await self._work(run, len(candidates), _answer, asked, candidates, known, position, run.config.seed)

    async def _with_pass_rates(self, run_id: str) -> Run:
        run = await self._runs.get(run_id)
        if run.law < PASS_RATES:
            raise Conflict(
                f"Run {run_id!r} was created under law {run.law}, so it has no pass rates.",
                value=run.law,
                limit=PASS_RATES,
                remedy=f"Create a run with prior_runs=[{run_id!r}]: it starts from this one's outcomes.",
            )
        return run

    async def _work(self, run: Run, prompts: int, function: Callable[..., T], *args: Any) -> T:
        """The result of a function, called in the thread for many prompts, which runs share by turns; of few prompts,
        in any other, since that takes some milliseconds."""
        if prompts <= MANY:
            return await asyncio.to_thread(function, *args)
        return await asyncio.wrap_future(self._turns.submit(run.stored.run_id, function, *args))

    async def _of(self, run: Run, pool: Pool) -> Candidates:
        """A run's pool, ready to be searched."""
        found = self._candidates.get(run.uid)
        if found is None or found.pool is not pool:
            found = self._candidates[run.uid] = await self._work(run, len(pool), Candidates, pool)
        return found

    def _forget(self, run: Run) -> None:
        self._candidates.pop(run.uid, None)
        self._uploads.forget(run.uid)


# In the run thread


def _pool(run: Run) -> Pool | None:
    return run.state.pool


def _has_another_pool(run: Run, digest: str | None) -> bool:
    """Whether a run's pool is not the one of this digest (None: no pool)."""
    return (None if run.state.pool is None else run.state.pool.digest()) != digest


def _require_known(run: Run, key: bytes) -> bool:
    """True, unless the run knows nothing of a prompt."""
    if _rates(run).row(key) is None:
        raise UnknownPrompt(
            f"Run {run.stored.run_id!r} knows nothing of a prompt {key.hex()}.",
            value=key.hex(),
            remedy="GET /runs/{id}/prompts lists the prompts with their keys.",
        )
    return True


def _require_new(run: Run, prior: Mapping[str, np.ndarray]) -> bool:
    """Whether a run without completions knows nothing yet, and not these counts."""
    begun, rates = run.state.serial > 0, _rates(run)
    if not begun and len(rates):
        start = rates.start()
        if all(np.array_equal(start[name], values) for name, values in prior.items()):
            return False
    if begun or len(rates):
        raise Conflict(
            f"Run {run.stored.run_id!r} has completions or a prior already.",
            limit="a run that knows nothing of any prompt",
            remedy="Create another run, and send it the counts before anything else.",
        )
    return True


def _counts(run: Run, candidates: Candidates) -> tuple[int, int, int]:
    """Where the pool was set, and how many of its prompts are visited, and known from prior runs only."""
    rates = _rates(run)
    rows = candidates.rows(rates)
    visits = rates.used["visits"][rows[rows != ABSENT]]
    return run.state.pool_since, int(np.count_nonzero(visits)), int(np.count_nonzero(visits == 0))


def _known_of_pool(run: Run, candidates: Candidates, asked: int | None) -> tuple[int, Known]:
    """What is known of a run's pool, of which little is looked up again."""
    position = _position(run, asked)
    if position < run.state.pool_since:
        raise Conflict(
            f"The pool of run {run.stored.run_id!r} was set by record {run.state.pool_since}, after {position}.",
            value=position,
            limit=run.state.pool_since,
            remedy="Plan as of that record or a later one, or send candidates.",
        )
    return position, known_after(_rates(run), candidates, position)


def _copied(run: Run, asked: int | None) -> tuple[int, PassRates]:
    """The pass rates, in which candidates that were sent are looked up elsewhere: rewards need not wait for that."""
    return _position(run, asked), _rates(run).copied()


def _position(run: Run, asked: int | None) -> int:
    """The position as of which to plan."""
    rates, newest = _rates(run), run.state.position
    position = newest if asked is None else asked
    if position > newest:
        raise InvalidRequest(
            f"Run {run.stored.run_id!r} has {newest} records, but position is {position}.",
            value=position,
            limit=newest,
            remedy="Ask as of a record that exists; each response has the position of its own.",
        )
    if not rates.reaches(position):
        raise Conflict(
            f"What run {run.stored.run_id!r} knew after record {position} is gone.",
            value=position,
            limit=newest - KEPT,
            remedy=f"Plan as of one of the last {KEPT} records.",
        )
    return position


def _rates(run: Run) -> PassRates:
    assert run.state.pass_rates is not None, "runs without pass rates were refused"
    return run.state.pass_rates


# In any thread


def _nothing() -> None:
    pass


def _candidates_of(ids: list[str], prompts: list[Text] | None) -> Candidates:
    return Candidates(pool_of(ids, prompts))


def pool_of(ids: list[str], prompts: list[Text] | None) -> Pool:
    """The pool of prompts with these ids, and their texts if they are known.

    Raises:
        InvalidRequest: an id comes twice, or holds half a surrogate pair.
    """
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(one for one in ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]
        raise _twice(twice)
    pool = Pool.of(ids, [key_of_id(one) for one in ids], [])
    return pool if prompts is None else Pool(pool.names, pool.ends, pool.keys, text_digests(prompts))


def _joined(parts: list[Pool]) -> Pool:
    """One pool of its parts.

    Raises:
        InvalidRequest: an id comes twice.
    """
    pool = joined(parts)
    _, firsts = np.unique(pool.keys.view(f"V{KEY_BYTES}")[:, 0], return_index=True)
    if len(firsts) < len(pool):
        raise _twice(pool.name(int(np.setdiff1d(np.arange(len(pool)), firsts)[0])))
    return pool


def _twice(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"The prompt id {name[:80]!r} comes twice.", value=name[:80], remedy="Give each prompt an id of its own."
    )


def _prior_of(given: PriorOutcomes) -> dict[str, np.ndarray]:
    texts = text_digests(given.prompts) if given.prompts is not None else np.zeros((len(given.n), TEXT_BYTES), np.uint8)
    if given.prompt_ids is not None:
        keys = [key_of_id(one) for one in given.prompt_ids]
    else:
        keys = [identity(prompt, None) for prompt in given.prompts or []]
    first: dict[bytes, int] = {}
    for item, key in enumerate(keys):
        if first.setdefault(key, item) != item:
            raise InvalidRequest(
                f"The prompts of items {first[key]} and {item} are the same.",
                value=item,
                remedy="Add up the counts of a prompt, and send it once.",
            )
    right = np.array(given.right, np.float64)
    return {
        "keys": np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1),
        "texts": texts,
        "right": right,
        "wrong": np.array(given.n, np.float64) - right,
    }


def _answer(asked: PlanRequest, candidates: Candidates, known: Known, position: int, seed: int) -> Plan:
    step = known.next_step if asked.step is None else asked.step
    excluded = np.zeros(len(candidates), bool)
    if asked.exclude:
        keys = np.frombuffer(b"".join(map(key_of_id, set(asked.exclude))), np.uint8).reshape(
            -1, candidates.pool.keys.shape[1]
        )
        numbers = candidates.find(keys, np.zeros((len(keys), TEXT_BYTES), np.uint8))
        excluded[numbers[numbers != ABSENT]] = True
    left = len(candidates) - int(np.count_nonzero(excluded))
    if asked.n > left:
        raise InvalidRequest(
            f"n is {asked.n}, but there are {left} prompts to choose from.",
            value=asked.n,
            limit=left,
            remedy="Ask for fewer, exclude fewer, or set a larger pool.",
        )
    picks = choose(
        known,
        candidates.pool.keys,
        asked.n,
        asked.group_size,
        excluded=excluded,
        step=step,
        seed=seed,
        objective=asked.objective,
    )
    return Plan(
        position=position,
        step=step,
        picks=[*_picks(picks, candidates.pool)],
        expected_spread=round(float(picks.spread.mean()), DIGITS),
        retired=Retired(solved=picks.solved, impossible=picks.impossible),
        candidates=left,
        known=picks.known,
    )


def _picks(picks: Picks, pool: Pool) -> list[Pick]:
    low, high = (np.round(betaincinv(picks.a, picks.b, one), DIGITS).tolist() for one in INTERVAL)
    p = np.round(picks.a / (picks.a + picks.b), DIGITS).tolist()
    spread, visits, seen = np.round(picks.spread, DIGITS).tolist(), picks.visits.tolist(), picks.seen.tolist()
    return [
        Pick(
            prompt_id=pool.name(number),
            p=p[place],
            low=low[place],
            high=high[place],
            spread=spread[place],
            visits=visits[place],
            source="own" if visits[place] else "prior" if seen[place] else "none",
        )
        for place, number in enumerate(picks.numbers.tolist())
    ]
