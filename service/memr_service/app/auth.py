"""Authorisation: API keys, their scopes, and the scope that each route needs. A route that is not listed is a 404."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import logging
import os
import stat
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from memr_client.errors import Forbidden, InvalidRequest, Unauthorized, UnknownRoute, WrongMethod
from memr_client.schemas import nearest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.datastructures import Headers, QueryParams
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("memr.app")

OTHERS = stat.S_IROTH | stat.S_IWOTH

KeyScope = Literal["read", "write", "admin"]
_RANK: dict[KeyScope, int] = {"read": 0, "write": 1, "admin": 2}

ROUTES: dict[str, dict[str, KeyScope | None]] = {
    "/": {"GET": None},
    "/dashboard/{name}": {"GET": None},
    "/livez": {"GET": None},
    "/readyz": {"GET": None},
    "/reward": {"POST": "write"},
    "/openrlhf/{run_id}": {"POST": "write"},
    "/nemo-gym/{run_id}/verify": {"POST": "write"},
    "/nemo-gym/{run_id}/seed_session": {"POST": "write"},
    "/nemo-gym/{run_id}/close_session": {"POST": "write"},
    "/nemo-gym/{run_id}/aggregate_metrics": {"POST": "write"},
    "/nemo-gym/{run_id}/reverify_mode": {"GET": "read"},
    "/runs": {"GET": "read"},
    "/runs/{run_id}": {"GET": "read", "PUT": "write", "DELETE": "admin"},
    "/runs/{run_id}/export": {"GET": "read"},
    "/runs/{run_id}/import": {"POST": "write"},
    "/runs/{run_id}/history": {"GET": "read"},
    "/runs/{run_id}/calibrate": {"GET": "read"},
    "/runs/{run_id}/checkpoints": {"GET": "read", "POST": "write"},
    "/runs/{run_id}/checkpoints/{name}": {"DELETE": "write"},
    "/runs/{run_id}/restore": {"POST": "write"},
    "/runs/{run_id}/fork": {"POST": "write"},
    "/runs/{run_id}/audits": {"GET": "read"},
    "/runs/{run_id}/completions": {"GET": "read"},
    "/runs/{run_id}/map": {"GET": "read"},
    "/runs/{run_id}/prompts": {"GET": "read"},
    "/runs/{run_id}/prompts/{key}": {"GET": "read", "DELETE": "write"},
    "/runs/{run_id}/pass-rates": {"GET": "read"},
    "/runs/{run_id}/provenance": {"GET": "read"},
    "/runs/{run_id}/explain": {"POST": "read"},
    "/runs/{run_id}/replay": {"POST": "read"},
    "/runs/{run_id}/pool": {"GET": "read", "PUT": "write", "DELETE": "write"},
    "/runs/{run_id}/plan": {"POST": "read"},
    "/runs/{run_id}/prior": {"POST": "write"},
    "/runs/{run_id}/backtest": {"GET": "read"},
    "/runs/{run_id}/suspects": {"GET": "read"},
    "/runs/{run_id}/decisions": {"GET": "read", "PUT": "write"},
    "/presets": {"GET": "read"},
    "/version": {"GET": "read"},
    "/metrics": {"GET": "read"},
    "/docs": {"GET": "read"},
    "/openapi.json": {"GET": "read"},
}
"""Route -> method -> scope that a key needs; None: no key needed."""

KEY_IN_QUERY = frozenset({"/openrlhf/{run_id}"})
"""Routes that also accept the key as `?key=`, because OpenRLHF sends no headers."""

KEY_AS_PASSWORD = frozenset(route for route in ROUTES if route.startswith("/nemo-gym/"))
"""Routes that also accept the key as the password of `Authorization: Basic`, because NeMo Gym can be told of one only
in an address, http://memr:KEY@HOST."""


HEAD_TOO = frozenset({"/", "/livez", "/readyz", "/metrics"})
"""Routes that also answer HEAD, as load balancers and monitors ask: like GET, without the body."""


class Key(BaseModel):
    """An API key. The server stores only its hash."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(min_length=1, max_length=128)]
    """The key's owner, as shown in logs."""
    scope: KeyScope
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the key, in hex."""
    runs: str = ""
    """Prefix of the runs' names that the key may use; empty: all runs."""

    def require(self, scope: KeyScope) -> None:
        """Raise `Forbidden` unless this key's scope includes `scope`."""
        if _RANK[self.scope] < _RANK[scope]:
            raise Forbidden(
                f"This request needs a key of scope {scope!r}, and this key's is {self.scope!r}.",
                value=self.scope,
                limit=scope,
                remedy=f"Use a key of scope {scope!r}.",
            )

    def require_run(self, run_id: str) -> None:
        """Raise `Forbidden` unless this key may use the run, whether it exists or not."""
        if not self.sees(run_id):
            raise Forbidden(
                f"This key is for runs whose names start with {self.runs!r}, and this one's does not.",
                value=run_id[:128],
                limit=f"names that start with {self.runs!r}",
                remedy="Choose such a name, or use another key.",
            )

    def sees(self, run_id: str) -> bool:
        """Whether the run's name starts with the key's prefix."""
        return run_id.startswith(self.runs)


ANYBODY = Key(name="anybody", scope="admin", sha256="0" * 64)
"""The caller of a server without keys. Its hash is never compared."""


class Keys:
    """The API keys of a server, read again when their file changes. Without any at first, every caller has full access.

    A change to a file that cannot be used is logged and leaves the keys as they were. A file without any key admits
    nobody.
    """

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self._keys = tuple(keys)
        self._open = not keys
        self._file: Path | None = None
        self._stamp: tuple[int, ...] | None = None

    @classmethod
    def read(cls, path: Path | None) -> Keys:
        """The keys in a JSON file, [{"name", "scope", "sha256", "runs"?}]; without a path, no keys.

        Raises:
            InvalidRequest: the file cannot be read, is not valid, or has no key. A server never opens by mistake.
        """
        if path is None:
            return cls()
        stamp = _stamp(path)  # before it is read, so that no change is missed
        if not (found := _read(path)):
            raise InvalidRequest(
                f"the keys file {path} has no key.",
                value=str(path),
                limit="one key or more",
                remedy="Add an entry that `memr key` prints, or serve without a keys file.",
            )
        keys = cls(found)
        keys._file, keys._stamp = path, stamp
        return keys

    def __bool__(self) -> bool:
        return not self._open

    def _reread(self) -> None:
        """Take the keys of a file that has changed."""
        if self._file is None or (stamp := _stamp(self._file)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = _read(self._file)
        except InvalidRequest as error:
            logger.error("%s The keys stay as they were.", error.detail)
        else:
            logger.info("the keys file %s has changed: %d keys", self._file, len(self._keys))

    def caller(self, headers: Headers, in_address: str = "") -> Key:
        """The key of a request: `Authorization: Bearer KEY`, `X-API-Key: KEY`, or `in_address` without these headers.

        Raises:
            Unauthorized: the request has no key, or an unknown one.
        """
        if self._open:
            return ANYBODY
        self._reread()
        scheme, _, token = headers.get("authorization", "").partition(" ")
        presented = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", in_address)
        digest = hashlib.sha256(presented.encode()).hexdigest()
        # Every key is compared, so that the time taken does not reveal a match.
        found = [key for key in self._keys if hmac.compare_digest(digest, key.sha256)]
        if not found:
            raise Unauthorized(
                "This server does not know the API key that was sent."
                if presented
                else "This server needs an API key, and none was sent.",
                limit="a key in the server's keys file",
                remedy="Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`; in Python pass api_key=..., or set "
                "MEMR_API_KEY.",
            )
        return found[0]


def _in_address(route: str, scope: Scope) -> str:
    """The key that the caller was told in an address, on routes that accept one so; else an empty text."""
    if route in KEY_IN_QUERY:
        return QueryParams(scope["query_string"]).get("key", "")
    scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    if route in KEY_AS_PASSWORD and scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            return base64.b64decode(token.strip(), validate=True).decode().partition(":")[2]
    return ""


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes when the file does; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _read(path: Path) -> tuple[Key, ...]:
    """The keys in a file. Warns if users other than its owner and group may read it or write to it.

    Raises:
        InvalidRequest: the file cannot be read or is not valid.
    """
    try:
        content, mode = path.read_bytes(), path.stat().st_mode
        keys = TypeAdapter(list[Key]).validate_json(_as_utf8(content))
    except OSError as error:
        raise InvalidRequest(
            f"the keys file {path} cannot be read: {error.strerror}.",
            value=str(path),
            remedy="Correct --keys-file (MEMR_KEYS_FILE); `memr key` makes the file's entries.",
        ) from error
    except ValidationError as error:
        raise _unreadable(path, error) from None
    if os.name == "posix" and mode & OTHERS:
        may = "write to" if mode & stat.S_IWOTH else "read"
        logger.warning("every user of this machine may %s the keys file %s: chmod 600 %s", may, path, path)
    return tuple(keys)


def _as_utf8(content: bytes) -> bytes:
    """A file's text without its byte order mark; PowerShell's `>` writes UTF-16."""
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return content.decode("utf-16", "replace").encode()
    return content.removeprefix(BOM_UTF8)


def _unreadable(path: Path, error: ValidationError) -> InvalidRequest:
    """What is wrong in a keys file. A value is shown only if it cannot be a key."""
    first = error.errors(include_url=False)[0]
    at, field = (*first["loc"], None, None)[:2]
    entry = f"entry {at + 1}" if isinstance(at, int) else "the file"
    words = first["msg"].replace("Input should", "it should")
    if first["type"] == "missing":
        wrong = f"{entry} has no {field}"
    elif first["type"] == "extra_forbidden":
        wrong = f"{entry} has an unknown field, {field!r:.40}"
    elif field == "scope":
        wrong = f"the scope of {entry} is {first['input']!r:.12}: {words}"
    elif field == "sha256":
        wrong = f"the sha256 of {entry} should be the key's SHA-256, 64 hexadecimal digits, and not the key"
    else:
        wrong = f"{entry}: {field}: {words}" if field else f"{entry}: {words}"
    return InvalidRequest(
        f"the keys file {path} cannot be used: {wrong}.",
        value=str(path),
        limit='[{"name": ..., "scope": "read", "write" or "admin", "sha256": ..., "runs": prefix}, ...]',
        remedy="Put the entries that `memr key` prints into one JSON list, separated by commas.",
    )


def _without_body(send: Send) -> Send:
    """Send a response's status and headers, and an empty body."""

    async def sent(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return sent


class Authorise:
    """ASGI middleware: finds the request's route and caller, and passes the request on if the caller may use it."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app = app
        self.keys = keys
        self.patterns = [(compile_path(route)[0], route) for route in ROUTES]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with `route` and, where known, `caller` and `run_id` in its state."""
        if scope["type"] == "http":
            self.check(scope)
            if scope["method"] == "HEAD":
                scope, send = {**scope, "method": "GET"}, _without_body(send)
        await self.app(scope, receive, send)

    def check(self, scope: Scope) -> None:
        """Find the route and the caller, and store them in the request's state.

        Raises:
            UnknownRoute, WrongMethod: the path or the method does not exist.
            Unauthorized, Forbidden: the caller may not use the route.
        """
        state, method = scope["state"], scope["method"]
        raw, state["route"] = scope.get("raw_path") or b"", None
        if b"%2f" in raw.lower():  # decoded, the path would be that of another route
            path = raw[:128].decode("ascii", "replace")
            raise UnknownRoute(f"There is no route {path!r}.", value=path, remedy="A name has no slash: write no %2F.")
        state["route"], run_id = self._find(scope["path"].removeprefix(scope.get("root_path", "")))
        if state["route"] is None:
            raise self._unknown(scope["path"])
        methods = ROUTES[state["route"]]
        if "GET" in methods and state["route"] in HEAD_TOO:
            methods = methods | {"HEAD": methods["GET"]}
        if method not in methods:
            raise WrongMethod(
                f"{state['route']} does not have this method.",
                value=method,
                limit=sorted(methods),
                remedy="Use one of the methods in `limit`.",
            )
        needed = methods[method]
        if needed is None:
            return
        state["run_id"] = run_id and run_id[:128]
        state["caller"] = caller = self.keys.caller(Headers(scope=scope), _in_address(state["route"], scope))
        caller.require(needed)
        if run_id is not None:
            caller.require_run(run_id)

    def _unknown(self, path: str) -> UnknownRoute:
        """The error for a path that is no route; it says what is wrong with the path, as far as that can be seen."""
        parts = [part for part in path.split("/") if part]
        named, remedy = "/" + "/".join(parts), "GET /openapi.json lists the routes."
        under = next((at for at in range(1, len(parts)) if self._find("/" + "/".join(parts[at:]))[0]), None)
        if parts and self._find(named)[0] is not None:
            remedy = f"Write it as {named}, without other slashes."
        elif parts[:1] == ["runs"] and len(parts) > 3:
            name = "/".join(parts[1:-1])
            remedy = (
                f"A run's name has no slash, so {name!r} is none: use letters, digits, '.', '_' and '-'. Rewards are "
                "asked of POST /reward, with the run's name in the body."
            )
        elif under is not None:
            base = "/" + "/".join(parts[:under])
            remedy = f"{named[len(base) :]} is a route, but not under {base}: the service's address ends before {base}."
        elif "health" in named:
            remedy = "The health checks are GET /livez and GET /readyz."
        elif near := nearest(named, ROUTES):
            remedy = f"Did you mean {near}? {remedy}"
        return UnknownRoute(f"There is no route {path[:128]!r}.", value=path[:128], remedy=remedy)

    def _find(self, path: str) -> tuple[str | None, str | None]:
        """The route of a path and the run's name in the path."""
        if path in ROUTES and "{" not in path:
            return path, None
        for pattern, route in self.patterns:
            if match := pattern.match(path):
                return route, match.groupdict().get("run_id")
        return None, None
