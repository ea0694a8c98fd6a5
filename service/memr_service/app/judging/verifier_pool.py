"""`VerifierPool`: outcomes by a run's verifier, within a limited time.

`exact` and `numeric` take little time, in the thread for texts. `math` takes some milliseconds for most completions and
seconds for a few, in separate processes. So that few do not delay many, each completion is first tried for a short time
(`QUICK_S`). The slow ones are tried again at the end, and never in all processes at once. Runs take turns, so that none
waits for all that another one asked, and what nobody waits for any more is not begun. Equal completions of a run are
verified once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from memr_client.errors import InvalidRequest

from memr_service.app.judging.math_process import MathProcess
from memr_service.engine.text_thread import Steps, TextThread, are_small
from memr_service.engine.turns import Turns
from memr_service.verifiers import VERIFIERS
from memr_service.verifiers.math import LIMIT_S
from memr_service.verifiers.math_worker import Verdict
from memr_service.verifiers.unreadable import unreadable

logger = logging.getLogger("memr.app")

PROCESSES = 4
"""Most processes."""
SLOW_PROCESSES = 3
"""Most processes that try a completion again. The others remain for first tries."""
QUICK_S = 0.3
"""Seconds of processor time for the first try."""
KNOWN = 16_384
"""Verdicts that are kept for equal completions."""
MOST_NAMED = 5
"""Completions that one warning names."""


class Judge(Protocol):
    """What verifies mathematics: `MathProcess`."""

    @property
    def is_alive(self) -> bool:
        """Whether it can take another verification."""

    async def judge(self, completion: str, answer: str, seconds: float) -> Verdict:
        """The verdict, `unjudged` after so many seconds of processor time."""

    async def stop(self) -> None:
        """End it."""


@dataclass(frozen=True)
class Outcomes:
    """Of n completions."""

    outcomes: list[float]
    """1.0 if a completion is right, otherwise 0.0 (n)."""
    unjudged: list[bool]
    """Whether a completion counts as wrong because it was not judged in time (n)."""

    def warning(self, seconds: float, name: str) -> str | None:
        """What the caller should know: which completions were not judged. None if all were.

        Args:
            seconds: the time for all of them.
            name: what the request calls a completion, as "query[{item}]".
        """
        late = [name.format(item=item) for item, is_late in enumerate(self.unjudged) if is_late]
        if not late:
            return None
        more = f" and {len(late) - MOST_NAMED} more" if len(late) > MOST_NAMED else ""
        return (
            f"{len(late)} of {len(self.unjudged)} completions count as wrong because they were not judged in time: "
            f"{', '.join(late[:MOST_NAMED])}{more}. The verifier has {LIMIT_S:g} s for each, and {seconds:g} s for all "
            "of a request (MEMR_VERIFIER_S)."
        )


@dataclass(eq=False)
class _Case:
    """A completion to judge."""

    run_id: str
    key: bytes
    completion: str
    answer: str
    waiting: int = 0
    """How many wait for it."""
    is_slow: bool = False
    """Whether the first try was too short."""
    verdict: asyncio.Future[Verdict] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class VerifierPool:
    """Verifies completions for one event loop. Close it at the end."""

    def __init__(self, text_thread: TextThread, start: Callable[[], Awaitable[Judge]] = MathProcess.start) -> None:
        self._text_thread = text_thread
        self._start = start
        self._first: Turns[_Case] = Turns()
        self._again: Turns[_Case] = Turns()
        self._open: dict[tuple[str, bytes], _Case] = {}
        self._known: OrderedDict[bytes, Verdict] = OrderedDict()
        self._idle: list[Judge] = []
        self._running: dict[asyncio.Task[None], _Case] = {}

    async def outcomes(
        self,
        run_id: str,
        verifier: str,
        completions: Sequence[str],
        answers: Sequence[str],
        seconds: float,
        name: str = "labels[{item}]",
    ) -> Outcomes:
        """The outcome of each completion. If the caller leaves, no further completion is judged for it.

        Args:
            run_id: the run, which takes turns with others.
            verifier: "exact", "numeric" or "math".
            completions: the completions (n).
            answers: the right answers (n).
            seconds: the time for all of them. What is not judged by then counts as wrong.
            name: what the request calls a right answer.

        Raises:
            InvalidRequest: the verifier cannot read an answer.
        """
        if verifier == "math":
            return await self._mathematics(run_id, completions, answers, seconds, name)
        comparing = _compare(verifier, completions, answers, time.monotonic() + seconds, name)
        small = are_small(completions, answers)
        return await self._text_thread.ask(run_id, comparing, small=small, limited=False)

    async def close(self) -> None:
        """Stop the processes. What has no verdict yet gets none."""
        self._first.clear()
        self._again.clear()
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for case in list(self._open.values()):
            self._settle(case, "unjudged", keep=False)
        while self._idle:
            await self._idle.pop().stop()

    async def _mathematics(
        self, run_id: str, completions: Sequence[str], answers: Sequence[str], seconds: float, name: str
    ) -> Outcomes:
        small = are_small(completions, answers)
        keys = await self._text_thread.ask(run_id, _keys(completions, answers), small=small)
        pairs = dict(zip(keys, zip(completions, answers, strict=True), strict=True))
        verdicts: dict[bytes, Verdict] = {key: self._known[key] for key in pairs if key in self._known}
        cases = [self._case(run_id, key, *pair) for key, pair in pairs.items() if key not in verdicts]
        for key in verdicts:
            self._known.move_to_end(key)
        self._dispatch()
        try:
            if cases:
                await asyncio.wait({case.verdict for case in cases}, timeout=seconds)
        finally:
            for case in cases:
                case.waiting -= 1
        verdicts |= {case.key: case.verdict.result() for case in cases if case.verdict.done()}
        known = [verdicts.get(key, "unjudged") for key in keys]
        if "unreadable" in known:
            item = known.index("unreadable")
            raise unreadable("math", answers[item], name.format(item=item))
        return Outcomes([float(one == "right") for one in known], [one == "unjudged" for one in known])

    def _case(self, run_id: str, key: bytes, completion: str, answer: str) -> _Case:
        """A completion whose verdict is being found, or from now on waited for."""
        if (case := self._open.get((run_id, key))) is None:
            case = self._open[run_id, key] = _Case(run_id, key, completion, answer)
            self._first.add(run_id, case)
        case.waiting += 1
        return case

    def _dispatch(self) -> None:
        """Start as many verifications as there are processes for."""
        while len(self._running) < PROCESSES and (case := self._next()) is not None:
            task = asyncio.create_task(self._judge(case))
            self._running[task] = case
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled():
            self._dispatch()

    def _next(self) -> _Case | None:
        """The case to try next. Those that nobody waits for are dropped."""
        slow = sum(case.is_slow for case in self._running.values())
        for waiting, has_process in ((self._first, True), (self._again, slow < SLOW_PROCESSES)):
            while has_process and (case := waiting.take()) is not None:
                if case.waiting:
                    return case
                self._settle(case, "unjudged", keep=False)
        return None

    async def _judge(self, case: _Case) -> None:
        """Try a case; put it back if it is slow."""
        try:
            judge = await self._process()
            verdict = await judge.judge(case.completion, case.answer, LIMIT_S if case.is_slow else QUICK_S)
            if judge.is_alive:
                self._idle.append(judge)
        except OSError as error:
            logger.warning("a completion could not be judged: %s", error)
            self._settle(case, "unjudged", keep=False)
            return
        if verdict == "unjudged" and not case.is_slow:
            case.is_slow = True
            self._again.add(case.run_id, case)
        else:
            self._settle(case, verdict)

    async def _process(self) -> Judge:
        while self._idle:
            judge = self._idle.pop()
            if judge.is_alive:
                return judge
        return await self._start()

    def _settle(self, case: _Case, verdict: Verdict, keep: bool = True) -> None:
        del self._open[case.run_id, case.key]
        case.verdict.set_result(verdict)
        if keep:
            self._known[case.key] = verdict
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)


def _keys(completions: Sequence[str], answers: Sequence[str]) -> Steps[list[bytes]]:
    """By which equal completions are recognised (n)."""
    keys = []
    for pair in zip(completions, answers, strict=True):
        keys.append(hashlib.sha256(json.dumps(pair).encode()).digest())
        yield
    return keys


def _compare(
    verifier: str, completions: Sequence[str], answers: Sequence[str], until: float, name: str
) -> Steps[Outcomes]:
    """Judge one by one; those that are left at `until` (`time.monotonic()`) stay unjudged."""
    outcomes: list[float] = []
    for item, (completion, answer) in enumerate(zip(completions, answers, strict=True)):
        if time.monotonic() >= until:
            break
        try:
            outcomes.append(VERIFIERS[verifier](completion, answer))
        except InvalidRequest:
            raise unreadable(verifier, answer, name.format(item=item)) from None
        yield
    late = len(completions) - len(outcomes)
    return Outcomes(outcomes + [0.0] * late, [False] * len(outcomes) + [True] * late)
