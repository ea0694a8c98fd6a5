"""The part of both clients that does no I/O."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

import httpx

from memr_client.calls import Call
from memr_client.errors import InvalidRequest, MemrError, ServiceUnreachable
from memr_client.tries import Tries

if TYPE_CHECKING:
    from typing_extensions import Self

CHUNK_BYTES = 1 << 20
PROBE_S = 10.0

Transport = TypeVar("Transport", httpx.BaseTransport, httpx.AsyncBaseTransport)


class BaseClient(Generic[Transport]):
    """Base of both clients; `RewardClient` documents the arguments."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        run: str | None = None,
        api_key: str | None = None,
        timeout: float = 300.0,
        retries: int = 8,
        wait: float = 0.0,
        transport: Transport | None = None,
    ) -> None:
        if httpx.URL(url).scheme not in ("http", "https"):
            raise ValueError(f"the service's url must start with http:// or https://, not {url!r}")
        self.url = url.rstrip("/")
        self.run_id = run
        self.timeout = timeout
        self.retries = retries
        self._api_key = os.environ.get("MEMR_API_KEY") if api_key is None else api_key
        self._wait_s = wait
        self._transport: Transport | None = transport
        self._pools: dict[Any, Any] = {}

    @classmethod
    def embedded(cls, store: str = "memory:", run: str | None = None, **settings: Any) -> Self:
        """A client with the service inside this process: no server, no socket, no API keys, the same rewards.

        RewardClient.embedded()                                        # lost when the process ends
        RewardClient.embedded("sqlite:///memr-data", encoder="hashed")  # kept in a folder

        Args:
            store: `memory:`, or `sqlite:///folder`. One process at a time can use a folder.
            run: default run of every call.
            settings: fields of `memr_service.settings.Settings`.

        Raises:
            ImportError: the service is not installed.
        """
        from memr_client.embedded import EmbeddedTransport

        transport: Any = EmbeddedTransport(store, **settings)
        return cls("http://embedded", run=run, transport=transport)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, run={self.run_id!r})"

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process opens its own sockets.
        return {**self.__dict__, "_pools": {}}

    def _name(self, run_id: str | None) -> str:
        if (name := run_id or self.run_id) is None:
            raise InvalidRequest("no run is named.", remedy="Pass run_id=..., or create the client with run=...")
        return name

    def _options(self) -> dict[str, Any]:
        headers = {} if self._api_key is None else {"authorization": f"Bearer {self._api_key}"}
        # Connections are unbounded: the members of a group wait at the service for each other, each on its own
        # connection, and a member without one would block the others. Only 20 idle ones are kept, because httpx
        # searches all of them for each response.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        return {"base_url": self.url, "headers": headers, "limits": limits, "transport": self._transport}

    def _parts(self, call: Call[Any], tries: Tries) -> dict[str, Any]:
        """Arguments of the next try's `httpx` request."""
        headers = {"x-request-timeout-ms": str(math.ceil(tries.remaining * 1000))}
        if call.content is not None:
            headers["content-type"] = call.content_type
        if call.run_id is not None:
            headers["x-memr-run"] = call.run_id
        limits = tries.limits()
        return {"method": call.method, "url": call.path, "content": call.content, "headers": headers, "timeout": limits}

    @contextmanager
    def _waiting(self, tries: Tries, seconds: float) -> Iterator[None]:
        """Translate the error of a service that did not become ready."""
        try:
            yield
        except MemrError as error:
            raise ServiceUnreachable(
                f"no memr service was ready at {self.url} after {tries.elapsed:.1f} s of at most {seconds:g} s. "
                f"Start one with `memr serve`. The last error was: {error.__cause__ or error}"
            ) from error
        self._wait_s = 0.0

    @contextmanager
    def _once(self, call: Call[Any]) -> Iterator[dict[str, Any]]:
        """Arguments for a call that is tried once; a broken connection raises `ServiceUnreachable`."""
        tries = Tries(self.timeout, retries=0)
        try:
            yield self._parts(call, tries)
        except httpx.RequestError as error:
            raise self._unreachable(call, tries, error) from error

    def _unreachable(self, call: Call[Any], tries: Tries, error: httpx.RequestError) -> ServiceUnreachable:
        message = (
            f"{call.method} {self.url}{call.path} got no response in {tries.elapsed:.1f} s and {tries.made} tries "
            f"({type(error).__name__}: {error}). Is the service running (`memr serve`)?"
        )
        if call.request_id is not None:
            message += f" You may send it again with request_id={call.request_id!r}: it counts once."
        return ServiceUnreachable(message)


@contextmanager
def complete_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file that is written under a temporary name and renamed when complete; a failure leaves no file."""
    part = Path(f"{os.fspath(path)}.part")
    try:
        with open(part, "wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
