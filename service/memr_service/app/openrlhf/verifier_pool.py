"""`VerifierPool`: outcomes by a run's verifier, within a limited time.

`exact` and `numeric` take no time. `math` takes some milliseconds for most completions and seconds for a few, in
separate processes. So that few do not delay many, each completion is first tried for a short time (`QUICK_S`). The slow
ones are tried again at the end, and never in all processes at once. Equal completions are verified once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from memr_client.errors import InvalidRequest

from memr_service.app.openrlhf.math_process import MathProcess
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
IN_PLACE = 64
"""Completions that are compared on the event loop; more are compared in a thread."""


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

    def warning(self, seconds: float) -> str | None:
        """What the caller should know: which completions were not judged. None if all were.

        Args:
            seconds: the time for all of them.
        """
        late = [f"query[{item}]" for item, is_late in enumerate(self.unjudged) if is_late]
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

    key: bytes
    completion: str
    answer: str
    until: float
    """When nobody waits for it any more (the event loop's time)."""
    is_slow: bool = False
    """Whether the first try was too short."""
    verdict: asyncio.Future[Verdict] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class VerifierPool:
    """Verifies completions for one event loop. Close it at the end."""

    def __init__(self, start: Callable[[], Awaitable[Judge]] = MathProcess.start) -> None:
        self._start = start
        self._first: deque[_Case] = deque()
        self._again: deque[_Case] = deque()
        self._open: dict[bytes, _Case] = {}
        self._known: OrderedDict[bytes, Verdict] = OrderedDict()
        self._idle: list[Judge] = []
        self._running: dict[asyncio.Task[None], _Case] = {}

    async def outcomes(
        self, verifier: str, completions: Sequence[str], answers: Sequence[str], seconds: float
    ) -> Outcomes:
        """The outcome of each completion.

        Args:
            verifier: "exact", "numeric" or "math".
            completions: the completions (n).
            answers: the right answers (n).
            seconds: the time for all of them. What is not judged by then counts as wrong.

        Raises:
            InvalidRequest: the verifier cannot read an answer.
        """
        if verifier == "math":
            return await self._mathematics(completions, answers, seconds)
        if len(completions) <= IN_PLACE:
            outcomes = _compare(verifier, completions, answers)
        else:
            outcomes = await asyncio.to_thread(_compare, verifier, completions, answers)
        return Outcomes(outcomes, [False] * len(outcomes))

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

    async def _mathematics(self, completions: Sequence[str], answers: Sequence[str], seconds: float) -> Outcomes:
        until = asyncio.get_running_loop().time() + seconds
        pairs = zip(completions, answers, strict=True)
        verdicts = [self._verdict(completion, answer, until) for completion, answer in pairs]
        self._dispatch()
        if verdicts:
            await asyncio.wait(set(verdicts), timeout=seconds)
        known = [verdict.result() if verdict.done() else "unjudged" for verdict in verdicts]
        if "unreadable" in known:
            item = known.index("unreadable")
            raise unreadable("math", answers[item], item)
        return Outcomes([float(one == "right") for one in known], [one == "unjudged" for one in known])

    def _verdict(self, completion: str, answer: str, until: float) -> asyncio.Future[Verdict]:
        """The verdict on a completion that is known, being found, or from now on waited for."""
        key = hashlib.sha256(json.dumps([completion, answer]).encode()).digest()
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
            verdict.set_result(known)
            return verdict
        if (case := self._open.get(key)) is None:
            case = self._open[key] = _Case(key, completion, answer, until)
            self._first.append(case)
        case.until = max(case.until, until)
        return case.verdict

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
        now = asyncio.get_running_loop().time()
        slow = sum(case.is_slow for case in self._running.values())
        for waiting, has_process in ((self._first, True), (self._again, slow < SLOW_PROCESSES)):
            while has_process and waiting:
                case = waiting.popleft()
                if now < case.until:
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
            self._again.append(case)
        else:
            self._settle(case, verdict)

    async def _process(self) -> Judge:
        while self._idle:
            judge = self._idle.pop()
            if judge.is_alive:
                return judge
        return await self._start()

    def _settle(self, case: _Case, verdict: Verdict, keep: bool = True) -> None:
        del self._open[case.key]
        case.verdict.set_result(verdict)
        if keep:
            self._known[case.key] = verdict
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)


def _compare(verifier: str, completions: Sequence[str], answers: Sequence[str]) -> list[float]:
    judge, outcomes = VERIFIERS[verifier], []
    for item, (completion, answer) in enumerate(zip(completions, answers, strict=True)):
        try:
            outcomes.append(judge(completion, answer))
        except InvalidRequest:
            raise unreadable(verifier, answer, item) from None
    return outcomes
