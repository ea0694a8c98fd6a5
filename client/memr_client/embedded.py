"""The service inside the caller's process: an httpx transport that runs the same app on an event loop of its own."""

from __future__ import annotations

import asyncio

# Loaded now although only `Future` is used: the interpreter ends in the reverse order of loading, and the service's
# thread pools must still work when ours ends.
import concurrent.futures.thread
import os
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NoReturn

import httpx

if TYPE_CHECKING:
    from fastapi import FastAPI

INSTEAD = "Start a server with `memr serve` and give each process a RewardClient(url)."


class EmbeddedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Carries requests, from any thread and any event loop, to a memr app in a background thread of this process.

    The thread has the app's loop, its lifespan and all its work; nothing is installed in the caller's threads, so that
    a notebook's running loop is no hindrance. An export or import passes through memory as a whole.

    Args:
        store: `memory:` or `sqlite:///folder`.
        settings: fields of `memr_service.settings.Settings`. API keys are off: there is no socket to guard.

    Raises:
        ImportError: the service is not installed.
    """

    def __init__(self, store: str, **settings: Any) -> None:
        app = _app(store, settings)
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        ended: Future[None] = Future()
        # A daemon, since the interpreter waits for all other threads before it would tell this one to end.
        threading.Thread(target=_serve, args=(app, started, ended), name="memr-embedded", daemon=True).start()
        self._asgi = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._loop, stop = started.result()
        self._pid = os.getpid()
        self._submitting = threading.Lock()
        # Forgotten clients are asked to end, without waiting; it happens at most once.
        self._ask_to_end = weakref.finalize(self, _ask_to_end, self._pid, self._loop, stop)
        self._ask_to_end.atexit = False
        self._ended = ended
        # atexit would be too late: thread pools, which the service closes its store with, are gone by then.
        threading._register_atexit(_end, self._pid, self._ask_to_end, ended)  # type: ignore[attr-defined]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of a synchronous client."""
        request.read()
        answering = self._submit(request)
        try:
            return answering.result(_seconds(request))
        except concurrent.futures.TimeoutError:
            raise httpx.ReadTimeout("not answered in time", request=request) from None
        finally:
            answering.cancel()  # where nobody waits any more, the service need not work

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of an asynchronous client."""
        await request.aread()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._submit(request)), _seconds(request))
        except asyncio.TimeoutError:
            raise httpx.ReadTimeout("not answered in time", request=request) from None

    def close(self) -> None:
        """End the app as a server would, and wait for it. In a forked child there is nothing to end."""
        if os.getpid() == self._pid:
            with self._submitting:
                self._ask_to_end()
            self._ended.result()

    async def aclose(self) -> None:
        """`close`, without holding up the caller's loop."""
        await asyncio.to_thread(self.close)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"an embedded memr cannot be sent to another process: its memory is in this one. {INSTEAD}")

    def _submit(self, request: httpx.Request) -> Future[httpx.Response]:
        if os.getpid() != self._pid:
            raise RuntimeError(f"an embedded memr stays in the process that made it ({self._pid}). {INSTEAD}")
        with self._submitting:  # so that no request comes after the request to end
            if not self._ask_to_end.alive:
                raise RuntimeError("this embedded memr is closed: make another with RewardClient.embedded()")
            return asyncio.run_coroutine_threadsafe(_answer(self._asgi, request), self._loop)


def _app(store: str, settings: dict[str, Any]) -> FastAPI:
    try:
        from memr_service.app import create_app
        from memr_service.settings import Settings
    except ImportError as error:
        raise ImportError(f"an embedded memr needs the service ({error}): pip install 'memr[service]'") from error
    # No keys, for there is no door. No preloading: the encoder is loaded while the caller waits for its first rewards,
    # so that loading cannot come between the random numbers of a program that goes on meanwhile.
    return create_app(Settings(**{"keys_file": None, "preload": False, **settings, "store": store}))


def _seconds(request: httpx.Request) -> float | None:
    seconds: float | None = request.extensions.get("timeout", {}).get("read")
    return seconds


async def _answer(asgi: httpx.ASGITransport, request: httpx.Request) -> httpx.Response:
    try:
        response = await asgi.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        # As it was sent: reading the response would undo a compression that its headers still name.
        content = b"".join([part async for part in response.stream])
    except asyncio.CancelledError:
        raise httpx.ReadError("the embedded memr was closed meanwhile", request=request) from None
    return httpx.Response(response.status_code, headers=response.headers, content=content)


def _serve(app: FastAPI, started: Future[Any], ended: Future[None]) -> None:
    """The thread's work. A start that fails is `started`'s exception, an end that fails is `ended`'s."""
    loop = asyncio.new_event_loop()  # not asyncio.run: notebooks are known to replace it
    try:
        try:
            loop.run_until_complete(_live(app, started))
        finally:
            loop.run_until_complete(_leave_nothing())
            loop.close()
    except BaseException as error:
        (ended if started.done() else started).set_exception(error)
    else:
        ended.set_result(None)


async def _live(app: FastAPI, started: Future[Any]) -> None:
    stop = asyncio.Event()
    async with app.router.lifespan_context(app):
        started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()


async def _leave_nothing() -> None:
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


def _ask_to_end(pid: int, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if os.getpid() == pid:
        loop.call_soon_threadsafe(stop.set)


def _end(pid: int, ask_to_end: weakref.finalize[[], EmbeddedTransport], ended: Future[None]) -> None:
    if os.getpid() == pid:
        was_open = ask_to_end.alive
        ask_to_end()
        failure = ended.exception()
        if was_open and failure is not None:  # otherwise `close` has raised it
            raise failure
