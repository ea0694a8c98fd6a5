"""Pools and plans of runs: which prompts to sample next."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
from memr_client.errors import Conflict, InvalidRequest, UnknownPrompt
from memr_client.schemas import Pick, Plan, PlanRequest, PoolInfo, PoolRequest, PriorOutcomes, Retired, Text
from scipy.special import betaincinv

from memr_service.engine.inputs import identity, key_of_id, text_digests
from memr_service.engine.run_api import RunApi
from memr_service.engine.run_registry import RunRegistry
from memr_service.engine.run_thread import RunThread
from memr_service.planning.candidates import ABSENT, Candidates
from memr_service.planning.plan import Known, Picks, choose, known_after
from memr_service.run.run import Run
from memr_service.state.law import PASS_RATES
from memr_service.state.pass_rates import KEPT, TEXT_BYTES, PassRates
from memr_service.state.pool import Pool

INTERVAL = (0.05, 0.95)
"""Quantiles of the pass rate that a pick names."""
DIGITS = 6
"""Decimals of the probabilities in a plan."""


@dataclass
class _Parts:
    """The parts of a pool that have come so far."""

    parts: int
    got: dict[int, PoolRequest]


class Planner:
    """Sets the pools of runs, and plans from them. Called from one event loop."""

    def __init__(self, runs: RunApi, registry: RunRegistry, thread: RunThread) -> None:
        self._runs = runs
        self._thread = thread
        self._candidates: dict[int, Candidates] = {}  # by run
        self._parts: dict[int, _Parts] = {}  # by run
        registry.on_forget.append(self._forget)

    async def set_pool(self, run_id: str, given: PoolRequest, part: int = 0, parts: int = 1) -> PoolInfo:
        """Give a run a pool; one that comes in several parts takes effect with the last. Nothing changes if the
        run has this pool.

        Raises:
            UnknownRun. Conflict: the run has no pass rates, or a pool of another number of parts is on its way.
            InvalidRequest: an id comes twice.
        """
        run = await self._with_pass_rates(run_id)
        if parts > 1:
            whole = self._collect(run, given, part, parts)
            if whole is None:
                return await self.pool(run_id)
            given = whole
        pool = await asyncio.to_thread(pool_of, given.prompt_ids, given.prompts)
        before = await self._thread.on_run(run, _pool)
        if before is None or await asyncio.to_thread(lambda: before.digest() != pool.digest()):
            await self._runs.set_up(run_id, pool=pool.arrays())
        return await self.pool(run_id)

    async def delete_pool(self, run_id: str) -> None:
        """Take a run's pool away.

        Raises:
            UnknownRun. Conflict: the run has no pass rates.
        """
        self._parts.pop((await self._with_pass_rates(run_id)).uid, None)
        await self._runs.set_up(run_id, pool=Pool.of([], [], []).arrays())

    async def pool(self, run_id: str) -> PoolInfo:
        """What a run's pool is.

        Raises:
            UnknownRun. Conflict: the run has no pass rates.
        """
        run = await self._with_pass_rates(run_id)
        waiting = len(self._parts[run.uid].got) if run.uid in self._parts else 0
        pool = await self._thread.on_run(run, _pool)
        if pool is None:
            since = await self._thread.on_run(run, lambda run: run.state.pool_since)
            return PoolInfo(prompts=0, digest=None, since=since, visited=0, prior=0, waiting=waiting)
        candidates = await self._of(run, pool)
        since, visited, prior = await self._thread.on_run(run, _counts, candidates)
        warnings = []
        if run.config.prior_runs and not prior and not visited:
            warnings = [f"The prior runs know none of the pool's {len(pool)} prompts, by id or by text."]
        digest = await asyncio.to_thread(pool.digest)
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
        run = await self._with_pass_rates(run_id)
        if not await self._thread.on_run(run, _knows, key):
            raise UnknownPrompt(
                f"Run {run_id!r} knows nothing of a prompt {key.hex()}.",
                value=key.hex(),
                remedy="GET /runs/{id}/prompts lists the prompts with their keys.",
            )
        await self._runs.set_up(run_id, forget={"keys": np.frombuffer(key, np.uint8).reshape(1, -1)})

    async def add_prior(self, run_id: str, given: PriorOutcomes) -> int:
        """Let a run without completions start from counts, and return of how many prompts it knows something now.

        Raises:
            UnknownRun. Conflict: the run has completions, or no pass rates. InvalidRequest: a prompt comes twice.
        """
        run = await self._with_pass_rates(run_id)
        if await self._thread.on_run(run, _has_begun):
            raise Conflict(
                f"Run {run_id!r} has completions or a prior already.",
                limit="a run that knows nothing of any prompt",
                remedy="Create another run, and send it the counts before anything else.",
            )
        await self._runs.set_up(run_id, prior=await asyncio.to_thread(_prior_of, given))
        return len(given.n)

    async def plan(self, run_id: str, asked: PlanRequest) -> Plan:
        """Which prompts to sample next.

        Raises:
            UnknownRun. Conflict: the run has no pass rates or no pool, or the position is gone or before the pool.
            InvalidRequest: more prompts are asked for than there are, or a candidate comes twice.
        """
        run = await self._with_pass_rates(run_id)
        if asked.candidates is not None:
            candidates = await asyncio.to_thread(_candidates_of, asked.candidates, asked.prompts)
            position, known = await self._thread.on_run(run, _known, candidates, asked.position, False)
        else:
            pool = await self._thread.on_run(run, _pool)
            if pool is None:
                raise Conflict(
                    f"Run {run_id!r} has no pool.",
                    remedy="Set one with PUT /runs/{id}/pool (client.set_pool), or send candidates.",
                )
            candidates = await self._of(run, pool)
            position, known = await self._thread.on_run(run, _known, candidates, asked.position, True)
        return await asyncio.to_thread(_answer, asked, candidates, known, position, run.config.seed)

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

    def _collect(self, run: Run, given: PoolRequest, part: int, parts: int) -> PoolRequest | None:
        """Keep a part; all of them as one pool once the last has come."""
        found = self._parts.setdefault(run.uid, _Parts(parts, {}))
        if found.parts != parts:
            found = self._parts[run.uid] = _Parts(parts, {})
        found.got[part] = given
        if len(found.got) < parts:
            return None
        del self._parts[run.uid]
        ordered = [found.got[number] for number in range(parts)]
        texts = [text for one in ordered for text in one.prompts or []]
        ids = [name for one in ordered for name in one.prompt_ids]
        if texts and len(texts) != len(ids):
            raise InvalidRequest(
                "Some parts of the pool have prompts, and others only their ids.",
                value=len(texts),
                limit=len(ids),
                remedy="Send prompts with every part, or with none.",
            )
        return PoolRequest.model_construct(prompt_ids=ids, prompts=texts or None)

    async def _of(self, run: Run, pool: Pool) -> Candidates:
        """A run's pool, ready to be searched."""
        found = self._candidates.get(run.uid)
        if found is None or found.pool is not pool:
            found = self._candidates[run.uid] = await asyncio.to_thread(Candidates, pool)
        return found

    def _forget(self, run: Run) -> None:
        self._candidates.pop(run.uid, None)


# In the run thread


def _pool(run: Run) -> Pool | None:
    return run.state.pool


def _knows(run: Run, key: bytes) -> bool:
    return _rates(run).row(key) is not None


def _has_begun(run: Run) -> bool:
    return run.state.serial > 0 or len(_rates(run)) > 0


def _counts(run: Run, candidates: Candidates) -> tuple[int, int, int]:
    """Where the pool was set, and how many of its prompts are visited, and known from prior runs only."""
    rates = _rates(run)
    rows = candidates.rows(rates)
    visits = rates.used["visits"][rows[rows != ABSENT]]
    return run.state.pool_since, int(np.count_nonzero(visits)), int(np.count_nonzero(visits == 0))


def _known(run: Run, candidates: Candidates, asked: int | None, of_pool: bool) -> tuple[int, Known]:
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
    if of_pool and position < run.state.pool_since:
        raise Conflict(
            f"The pool of run {run.stored.run_id!r} was set by record {run.state.pool_since}, after {position}.",
            value=position,
            limit=run.state.pool_since,
            remedy="Plan as of that record or a later one, or send candidates.",
        )
    return position, known_after(rates, candidates, position)


def _rates(run: Run) -> PassRates:
    assert run.state.pass_rates is not None, "runs without pass rates were refused"
    return run.state.pass_rates


# In any thread


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
        raise InvalidRequest(
            f"The prompt id {twice[:80]!r} comes twice.", value=twice[:80], remedy="Give each prompt an id of its own."
        )
    pool = Pool.of(ids, [key_of_id(one) for one in ids], [])
    return pool if prompts is None else Pool(pool.names, pool.ends, pool.keys, text_digests(prompts))


def _prior_of(given: PriorOutcomes) -> dict[str, np.ndarray]:
    texts = text_digests(given.prompts) if given.prompts is not None else np.zeros((len(given.n), TEXT_BYTES), np.uint8)
    if given.prompt_ids is not None:
        keys = [key_of_id(one) for one in given.prompt_ids]
    else:
        keys = [identity(prompt, None) for prompt in given.prompts or []]
    if len(set(keys)) < len(keys):
        raise InvalidRequest(
            "A prompt comes twice.",
            value=len(keys),
            limit=len(set(keys)),
            remedy="Add up its counts, and send it once.",
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
