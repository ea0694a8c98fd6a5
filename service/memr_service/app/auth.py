"""Authorisation: API keys, their scopes, and the scope that each route needs. A route that is not listed is a 404."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from memr_client.errors import Forbidden, MemrError, Unauthorized, UnknownRoute, WrongMethod
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.datastructures import Headers, QueryParams
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

KeyScope = Literal["read", "write", "admin"]
_RANK: dict[KeyScope, int] = {"read": 0, "write": 1, "admin": 2}

ROUTES: dict[str, dict[str, KeyScope | None]] = {
    "/": {"GET": None},
    "/dashboard/{name}": {"GET": None},
    "/livez": {"GET": None},
    "/readyz": {"GET": None},
    "/reward": {"POST": "write"},
    "/openrlhf/{run_id}": {"POST": "write"},
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
    "/runs/{run_id}/provenance": {"GET": "read"},
    "/runs/{run_id}/explain": {"POST": "read"},
    "/runs/{run_id}/replay": {"POST": "read"},
    "/presets": {"GET": "read"},
    "/version": {"GET": "read"},
    "/metrics": {"GET": "read"},
    "/docs": {"GET": "read"},
    "/openapi.json": {"GET": "read"},
}
"""Route -> method -> scope that a key needs; None: no key needed."""

KEY_IN_QUERY = frozenset({"/openrlhf/{run_id}"})
"""Routes that also accept the key as `?key=`, because OpenRLHF sends no headers."""


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
                "This key's scope does not allow this request.",
                value=self.scope,
                limit=scope,
                remedy=f"Use a key of scope {scope!r}.",
            )

    def require_run(self, run_id: str) -> None:
        """Raise `Forbidden` unless this key may use the run, whether it exists or not."""
        if not self.sees(run_id):
            raise Forbidden(
                "This key may not use this run.",
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
    """The API keys of a server. Without any, every caller has full access."""

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self._keys = tuple(keys)

    @classmethod
    def read(cls, path: Path | None) -> Keys:
        """The keys in a JSON file, [{"name", "scope", "sha256", "runs"?}]; without a path, no keys.

        Raises:
            MemrError: the file cannot be read, is not valid, or has no key. A server never opens by mistake.
        """
        if path is None:
            return cls()
        try:
            keys = TypeAdapter(list[Key]).validate_json(path.read_bytes())
        except OSError as error:
            raise MemrError(f"The keys file {path} cannot be read: {error.strerror}.") from error
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise MemrError(f"The keys file {path} is wrong at {where}: {first['msg']}.") from None
        if not keys:
            raise MemrError(f"The keys file {path} has no key. Add one, or serve without a keys file.")
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def caller(self, headers: Headers, in_query: str = "") -> Key:
        """The key of a request: `Authorization: Bearer KEY`, `X-API-Key: KEY`, or `in_query` without these headers.

        Raises:
            Unauthorized: the request has no key, or an unknown one.
        """
        if not self._keys:
            return ANYBODY
        scheme, _, token = headers.get("authorization", "").partition(" ")
        presented = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", in_query)
        digest = hashlib.sha256(presented.encode()).hexdigest()
        # Every key is compared, so that the time taken does not reveal a match.
        found = [key for key in self._keys if hmac.compare_digest(digest, key.sha256)]
        if not found:
            raise Unauthorized(
                "This server does not know the API key." if presented else "This server needs an API key.",
                limit="a key in the server's keys file",
                remedy="Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
            )
        return found[0]


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
        await self.app(scope, receive, send)

    def check(self, scope: Scope) -> None:
        """Find the route and the caller, and store them in the request's state.

        Raises:
            UnknownRoute, WrongMethod: the path or the method does not exist.
            Unauthorized, Forbidden: the caller may not use the route.
        """
        state, method = scope["state"], scope["method"]
        state["route"], run_id = self._find(scope["path"].removeprefix(scope.get("root_path", "")))
        if state["route"] is None:
            raise UnknownRoute("No route has this path.", remedy="GET /openapi.json lists the routes.")
        methods = ROUTES[state["route"]]
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
        in_query = QueryParams(scope["query_string"]).get("key", "") if state["route"] in KEY_IN_QUERY else ""
        state["caller"] = caller = self.keys.caller(Headers(scope=scope), in_query)
        caller.require(needed)
        if run_id is not None:
            caller.require_run(run_id)

    def _find(self, path: str) -> tuple[str | None, str | None]:
        """The route of a path and the run's name in the path."""
        for pattern, route in self.patterns:
            if match := pattern.match(path):
                return route, match.groupdict().get("run_id")
        return None, None
