"""Follows one `POST /reward` through the service's own functions, across tasks and threads."""

from __future__ import annotations

import asyncio
import contextvars
import dis
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import httpx
import memr_service
import numpy as np
from memr_service.app import create_app
from memr_service.engine.shared_thread import SharedThread
from memr_service.settings import Settings

HOME = Path(memr_service.__file__).parent
N, D = 8, 16
_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

_current: contextvars.ContextVar[Call | None] = contextvars.ContextVar("current", default=None)
"""The call whose function runs in this task or thread, or waits in it."""


@dataclass(frozen=True)
class Step:
    """A function of the service: its file, relative to the package, and its name there."""

    file: str
    function: str

    @property
    def room(self) -> str:
        """The room that the file is in."""
        return self.file.partition("/")[0].removesuffix(".py")


@dataclass(eq=False)
class Call:
    """A call of a function, and the call in which it was made."""

    step: Step
    caller: Call | None

    @property
    def chain(self) -> tuple[Step, ...]:
        """The functions from the first one to this one."""
        return (*(() if self.caller is None else self.caller.chain), self.step)


@dataclass
class Trace:
    """A profile function that notes the calls of the service's own functions, in their order.

    The caller is the innermost such function that waits for the call, or that started the task or the work in an
    executor. Lambdas and comprehensions are parts of the function they stand in.
    """

    calls: list[Call] = field(default_factory=list)
    _of: dict[FrameType, Call] = field(default_factory=dict)

    def chains(self, ends: set[Step]) -> list[tuple[Step, ...]]:
        """The functions that lead to each call of one of `ends`, which is the last of them."""
        return [call.chain for call in self.calls if call.step in ends]

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call, or that a function has ended or waits."""
        code = frame.f_code
        if event not in ("call", "return") or code.co_name.startswith("<"):
            return
        if not code.co_filename.startswith(f"{HOME}/"):
            return
        if event == "return":
            if (call := self._of.get(frame)) is not None and _leaves(frame):
                _current.set(call.caller)
        elif frame in self._of:  # it goes on after a wait
            if code.co_flags & _GENERATOR:
                _current.set(self._of[frame])
        else:
            name = getattr(code, "co_qualname", code.co_name)  # Python 3.10 has the last part only
            step = Step(Path(code.co_filename).relative_to(HOME).as_posix(), name)
            call = self._of[frame] = Call(step, _current.get())  # keeps the frame, so that its id stays its own
            self.calls.append(call)
            _current.set(call)


def _leaves(frame: FrameType) -> bool:
    """Whether its caller goes on now: the function has ended, or it is a generator. A coroutine that waits does not."""
    if frame.f_code.co_flags & _GENERATOR:
        return True
    return not dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("YIELD")


@contextmanager
def traced() -> Iterator[Trace]:
    """Note the calls in this thread, and in all threads that start inside the `with` block."""
    trace, submit = Trace(), ThreadPoolExecutor.submit
    take_turns, take_turns_together = SharedThread.submit, SharedThread.submit_alike

    def in_context(pool: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        return submit(pool, contextvars.copy_context().run, function, *args, **named)

    def by_turns(turns: SharedThread, run: str, function: Callable[..., Any], *args: Any) -> Future[Any]:
        return take_turns(turns, run, contextvars.copy_context().run, function, *args)

    def together(
        turns: SharedThread, run: str, kind: object, weight: int, function: Callable[..., Any], argument: Any
    ) -> Future[Any]:
        within = partial(contextvars.copy_context().run, function)
        return take_turns_together(turns, run, kind, weight, within, argument)

    with (
        patch.object(ThreadPoolExecutor, "submit", in_context),
        patch.object(SharedThread, "submit", by_turns),
        patch.object(SharedThread, "submit_alike", together),
    ):
        threading.setprofile(trace)
        sys.setprofile(trace)
        try:
            yield trace
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]  # None is allowed; typeshed does not know it


def follow(*, embeddings: bool) -> Trace:
    """The calls of one real `POST /reward` to a whole app in this process, until its record is applied.

    The run has two records already, so that both memories are read. `embeddings`: the request carries them; otherwise
    the `hashed` encoder computes them.
    """
    with traced() as trace:
        return asyncio.run(_last_request(trace, embeddings))


async def _last_request(trace: Trace, embeddings: bool) -> Trace:
    app = create_app(Settings(store="memory:", encoder="hashed", preload=False))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://memr") as client,
    ):
        config = {"preset": "memory-r+", "explore_warmup_steps": 0, "store_text": False}
        (await client.put("/runs/run", json=config)).raise_for_status()
        for number in range(3):
            trace.calls.clear()
            (await client.post("/reward", json=_request(number, embeddings))).raise_for_status()
            await asyncio.sleep(0.02)  # what is done after the response has begun
            await app.state.context.service.ready()  # and ended
        return Trace([call for call in trace.calls if call.chain[0].function != "Service.ready"])


def _request(number: int, embeddings: bool) -> dict[str, Any]:
    request: dict[str, Any] = {
        "run_id": "run",
        "request_id": f"step-{number}",
        "prompts": [f"What is {item // 4} + 7?" for item in range(N)],
        "completions": [f"In step {number}, attempt {item}." for item in range(N)],
        "outcomes": [float(item % 2) for item in range(N)],
    }
    if embeddings:
        rng = np.random.default_rng(number)
        prompts, completions = np.eye(D)[np.arange(N) // 4], rng.normal(size=(N, D))
        request["embeddings"] = {"prompts": prompts.tolist(), "completions": completions.tolist()}
    return request
