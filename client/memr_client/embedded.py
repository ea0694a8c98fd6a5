"""The service inside the caller's process: an httpx transport that runs the app on its own event loop."""

from __future__ import annotations

import asyncio

# Importing this registers its exit handler before ours. Handlers run in reverse order, so the service's thread pools
# still work when `_stop_at_exit` closes the store.
import concurrent.futures.thread
import os
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NoReturn

import httpx
from pydantic import ValidationError

from memr_client.columns import invalid
from memr_client.errors import InvalidRequest
from memr_client.schemas import RunConfig, nearest

if TYPE_CHECKING:
    from fastapi import FastAPI

SERVER = "Start a server with `memr serve` and give each process a RewardClient(url)."


class EmbeddedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Carries requests from any thread and event loop to a memr app in a background thread of this process.

    The app's event loop and all its work run in that thread, so it also works where the caller's loop is running, as in
    a notebook. An export or import is held in memory as a whole.

    Args:
        store: `memory:` or `sqlite:///folder`.
        settings: fields of `memr_service.settings.Settings`. API keys are off, because there is no socket.

    Raises:
        ImportError: the service is not installed.
        InvalidRequest: a setting is unknown or does not fit.
    """

    def __init__(self, store: str, **settings: Any) -> None:
        app = _app(store, settings)
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        ended: Future[None] = Future()
        # A daemon thread: the interpreter would wait for any other thread before it runs `_stop_at_exit`.
        threading.Thread(target=_serve, args=(app, started, ended), name="memr-embedded", daemon=True).start()
        self._asgi = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._loop, stop = started.result()
        self._pid = os.getpid()
        self._submitting = threading.Lock()
        # Stops the app of a client that is garbage-collected, without waiting. It runs at most once.
        self._request_stop = weakref.finalize(self, _request_stop, self._pid, self._loop, stop)
        self._request_stop.atexit = False
        self._ended = ended
        # Not atexit: the thread pools that close the store are already gone by then.
        threading._register_atexit(_stop_at_exit, self._pid, self._request_stop, ended)  # type: ignore[attr-defined]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request of a blocking client."""
        request.read()
        responding = self._submit(request)
        try:
            return _given(responding.result(_read_timeout(request)), request)
        except concurrent.futures.TimeoutError:
            raise httpx.ReadTimeout("no response in time", request=request) from None
        finally:
            responding.cancel()  # stops the work after a time-out

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request of an asynchronous client."""
        await request.aread()
        try:
            response = await asyncio.wait_for(asyncio.wrap_future(self._submit(request)), _read_timeout(request))
            return _given(response, request)
        except asyncio.TimeoutError:
            raise httpx.ReadTimeout("no response in time", request=request) from None

    def close(self) -> None:
        """Shut the app down as a server would, and wait. Does nothing in a forked child."""
        if os.getpid() == self._pid:
            with self._submitting:
                self._request_stop()
            self._ended.result()

    async def aclose(self) -> None:
        """`close` without blocking the caller's loop."""
        await asyncio.to_thread(self.close)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"an embedded memr cannot be sent to another process: its memory is in this one. {SERVER}")

    def _submit(self, request: httpx.Request) -> Future[httpx.Response | None]:
        if os.getpid() != self._pid:
            raise RuntimeError(f"an embedded memr works only in the process that created it ({self._pid}). {SERVER}")
        with self._submitting:  # no request may be submitted after the loop was asked to stop
            if not self._request_stop.alive:
                raise RuntimeError("this embedded memr is closed: create another with RewardClient.embedded()")
            return asyncio.run_coroutine_threadsafe(_respond(self._asgi, request), self._loop)


def _app(store: str, settings: dict[str, Any]) -> FastAPI:
    try:
        from memr_service.app import create_app
        from memr_service.settings import Settings
    except ImportError as error:
        raise ImportError(
            f"an embedded memr needs the service ({error}): pip install '.[service]' in a clone of memr"
        ) from error
    for name in settings.keys() - Settings.model_fields.keys():
        remedy = "Settings are the fields of memr_service.settings.Settings."
        if name in RunConfig.model_fields:
            remedy = f"It belongs to a run's config: client.create_run(run, {name}=...)."
        elif near := nearest(name, Settings.model_fields):
            remedy = f"Did you mean {near!r}?"
        raise InvalidRequest(f"the service has no setting {name!r}.", value=name, remedy=remedy)
    # No API keys, because there is no socket. No preloading: the encoder loads while the caller waits for the first
    # rewards, so that loading cannot draw from the caller's random generators at an unknown time.
    try:
        chosen = Settings(**{"keys_file": None, "preload": False, **settings, "store": store})
    except ValidationError as error:
        raise invalid(error, "Settings come from the arguments and from MEMR_* variables.") from None
    return create_app(chosen)


def _read_timeout(request: httpx.Request) -> float | None:
    seconds: float | None = request.extensions.get("timeout", {}).get("read")
    return seconds


def _given(response: httpx.Response | None, request: httpx.Request) -> httpx.Response:
    if response is None:
        raise httpx.ReadError("the embedded memr was closed during the request", request=request)
    return response


async def _respond(asgi: httpx.ASGITransport, request: httpx.Request) -> httpx.Response | None:
    """The app's response; None if the request was cancelled. An error would be logged where nobody waits any more."""
    try:
        response = await asgi.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        # The raw stream: `response.read` would decompress the body and leave the header that names the compression.
        content = b"".join([part async for part in response.stream])
    except asyncio.CancelledError:
        return None
    return httpx.Response(response.status_code, headers=response.headers, content=content)


def _serve(app: FastAPI, started: Future[Any], ended: Future[None]) -> None:
    """Run the app until it is stopped. A failing start sets `started`'s exception, a failing stop sets `ended`'s."""
    loop = asyncio.new_event_loop()  # not asyncio.run, which some notebooks replace
    try:
        try:
            loop.run_until_complete(_live(app, started))
        finally:
            loop.run_until_complete(_cancel_all())
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


async def _cancel_all() -> None:
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


def _request_stop(pid: int, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if os.getpid() == pid:
        loop.call_soon_threadsafe(stop.set)


def _stop_at_exit(pid: int, request_stop: weakref.finalize[[], EmbeddedTransport], ended: Future[None]) -> None:
    if os.getpid() == pid:
        was_open = request_stop.alive
        request_stop()
        failure = ended.exception()
        if was_open and failure is not None:  # if it was closed before, `close` has raised the failure
            raise failure
