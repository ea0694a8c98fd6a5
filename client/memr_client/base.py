"""The part of both clients that does no I/O."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

import httpx

from memr_client.address import Proxy, checked_url, proxy_for, without_password
from memr_client.advice import FirstSteps, MostlyZero
from memr_client.calls import Call
from memr_client.columns import checked
from memr_client.errors import InvalidRequest, MemrError, ServiceUnreachable
from memr_client.names import checked_name
from memr_client.plain import plain
from memr_client.responses import error_from
from memr_client.schemas import PresetName, RewardResponse, RunConfig, RunInfo, nearest
from memr_client.tries import Tries, checked_retries, checked_seconds

if TYPE_CHECKING:
    from typing_extensions import Never, Self

log = logging.getLogger("memr_client")

CHUNK_BYTES = 1 << 20
PROBE_S = 10.0
QUIET_S = 30.0

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""Connections are unbounded: the members of a group wait at the service for each other, each on its own connection, and
a member without one would block the others. Only 20 idle ones are kept, because httpx searches all of them for each
response."""

MISPLACED = {
    "preset": "A preset belongs to a run: client.create_run(run, preset=...). An embedded service takes preset= too.",
    "default_preset": "Write preset=, in client.create_run(run, preset=...) or RewardClient.embedded(preset=...).",
    "config": "A config belongs to a run: client.create_run(run, config).",
}
"""Arguments that people pass to the client, and where they belong."""

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
        retries: float = 8,
        wait: float = 0.0,
        transport: Transport | None = None,
        **unknown: Never,
    ) -> None:
        if unknown:
            raise _unknown_argument(next(iter(unknown)))
        self.url = checked_url(url)
        self.run_id = None if run is None else checked_name(run)
        self.timeout = checked_seconds(timeout, "timeout")
        self.retries = checked_retries(retries)
        self._api_key = _checked_key(api_key)
        self._wait_s = checked_seconds(wait, "wait", least=0)
        self._transport: Transport | None = transport
        self._proxy: Proxy | None = None
        self._quiet_until = 0.0
        self._pools: dict[Any, Any] = {}
        self._first_steps: dict[str, FirstSteps] = {}
        self._mostly_zero: dict[str, MostlyZero] = {}
        self._warned: set[tuple[str, str]] = set()

    @classmethod
    def embedded(
        cls, store: str = "memory:", run: str | None = None, *, preset: PresetName | None = None, **settings: Any
    ) -> Self:
        """A client with the service inside this process: no server, no socket, no API keys, the same rewards.

        RewardClient.embedded()                                        # lost when the process ends
        RewardClient.embedded("sqlite:///memr-data", encoder="hashed")  # kept in a folder
        RewardClient.embedded(run="gsm8k-seed0", preset="memory-r+")    # the preset of runs that it creates

        Args:
            store: `memory:`, or `sqlite:///folder`. One process at a time can use a folder.
            run: default run of every call.
            preset: preset of runs that are created without one. Default: the service's.
            settings: other fields of `memr_service.settings.Settings`.

        Raises:
            ImportError: the service is not installed.
            InvalidRequest: a setting is unknown or does not fit.
        """
        from memr_client.embedded import EmbeddedTransport

        name = None if run is None else checked_name(run)
        if preset is not None:
            settings = {"default_preset": checked(RunConfig, preset=preset).preset, **settings}
        transport: Any = EmbeddedTransport(store, **settings)
        return cls("http://embedded", run=name, api_key="", transport=transport)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({without_password(self.url)!r}, run={self.run_id!r})"

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process opens its own sockets.
        return {**self.__dict__, "_pools": {}}

    def _name(self, run_id: str | None) -> str:
        """The run that a call means: the one it names, else the client's."""
        if (name := self.run_id if run_id is None else run_id) is None:
            raise InvalidRequest("no run is named.", remedy="Pass run_id=..., or create the client with run=...")
        return checked_name(name)

    def _says_nothing(self, step: int | None, outcomes: Any, response: RewardResponse) -> bool:
        """Whether to tell the caller now why the run's rewards say nothing so far."""
        first = self._first_steps.setdefault(response.run_id, FirstSteps())
        if says_nothing := first.add(step, response.outcomes_used or plain(outcomes), response):
            self._mostly_zero.setdefault(response.run_id, MostlyZero()).add(response)  # `_why` tells these causes
        return says_nothing

    def _why(self, config: RunConfig, response: RewardResponse) -> str:
        return f"memr: {self._first_steps[response.run_id].says(config, response)}"

    def _mostly_zero_because(self, response: RewardResponse) -> str | None:
        """What to tell the caller now of a cause for which most of a request's rewards are 0, after the first steps."""
        if not self._first_steps[response.run_id].over:
            return None
        seen = self._mostly_zero.setdefault(response.run_id, MostlyZero())
        causes = seen.add(response)
        return f"memr: {seen.says(causes, response)}" if causes else None

    def _with_warnings_logged(self, info: RunInfo) -> RunInfo:
        """The description of a created run; each of its warnings is logged once."""
        for warning in info.warnings:
            if (info.run_id, warning) not in self._warned:
                self._warned.add((info.run_id, warning))
                log.warning("memr: run %r: %s", info.run_id, warning)
        return info

    def _options(self) -> dict[str, Any]:
        headers = {} if self._api_key is None else {"authorization": f"Bearer {self._api_key}"}
        return {"base_url": self.url, "headers": headers}

    def _route(self) -> dict[str, Any]:
        """Arguments of the httpx transport that connects to the service."""
        self._proxy = proxy_for(self.url)
        return {"limits": LIMITS, "proxy": None if self._proxy is None else self._proxy.url}

    def _parts(self, call: Call[Any], tries: Tries) -> dict[str, Any]:
        """Arguments of the next try's `httpx` request."""
        headers = {}
        if math.isfinite(tries.remaining):
            headers["x-request-timeout-ms"] = str(math.ceil(tries.remaining * 1000))
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
            at_most = f"at most {seconds:g} s" if math.isfinite(seconds) else "any time"
            raise ServiceUnreachable(
                f"no memr service was ready at {self._shown()} after {tries.elapsed:.1f} s of {at_most}. "
                f"Start one with `memr serve`. The last error was: {error.__cause__ or error.in_one_line}"
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
        made = "1 try" if tries.made == 1 else f"{tries.made} tries"
        message = (
            f"{call.method} {self._shown(call)} got no response in {tries.elapsed:.1f} s and {made} "
            f"({_cause(error)}). {self._advice()}"
        )
        if call.request_id is not None:
            message += f" You may send it again with request_id={call.request_id!r}: it counts once."
        return ServiceUnreachable(message)

    def _advice(self) -> str:
        if self._proxy is None:
            return "Is the service running (`memr serve`)?"
        host = httpx.URL(self.url).host
        return f"Requests go through {self._proxy}. Is it right? Add {host} to NO_PROXY for a direct connection."

    def _shown(self, call: Call[Any] | None = None) -> str:
        """The address as messages show it."""
        return f"{without_password(self.url)}{'' if call is None else call.path}"

    def _say_pause(self, call: Call[Any], tries: Tries, failure: httpx.Response | httpx.RequestError) -> None:
        """Log a call's first failure, so that nobody waits in silence; of many calls, one in `QUIET_S` seconds."""
        now = time.monotonic()
        if tries.made == 2 and now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            if isinstance(failure, httpx.Response):
                what = error_from(failure, self._proxy).in_one_line
            else:
                what = _cause(failure)
            log.warning(
                "memr: %s %s failed (%s). It is sent again %s. %s",
                call.method, self._shown(call), what, tries.outlook(), self._advice(),
            )  # fmt: skip


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


def _checked_key(given: str | None) -> str | None:
    """The API key without spaces around it, from the environment if none is given; an empty one is none.

    Raises:
        InvalidRequest: a header cannot carry it. The message does not show it.
    """
    source = "MEMR_API_KEY" if given is None else "api_key="
    key = (os.environ.get("MEMR_API_KEY", "") if given is None else given).strip()
    if wrong := [place for place, character in enumerate(key) if not "!" <= character <= "~"]:
        raise InvalidRequest(
            f"the API key in {source} has a character that a header cannot carry, at position {wrong[0]}.",
            limit="printable ASCII without spaces",
            remedy="Is it the key that `memr key` printed?",
        )
    return key or None


def _unknown_argument(name: str) -> InvalidRequest:
    known = ("url", "run", "api_key", "timeout", "retries", "wait", "transport")
    remedy = MISPLACED.get(name)
    if remedy is None and name in RunConfig.model_fields:
        remedy = f"It belongs to a run's config: client.create_run(run, {name}=...)."
    if remedy is None and (near := nearest(name, known)):
        remedy = f"Did you mean {near!r}?"
    return InvalidRequest(f"the client has no argument {name!r}.", value=name, limit=list(known), remedy=remedy)


def _cause(error: httpx.RequestError) -> str:
    return f"{type(error).__name__}: {without_password(str(error))}"
