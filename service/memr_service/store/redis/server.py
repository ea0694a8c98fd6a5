"""The connection to a Redis or Valkey: opened by URL, checked at start, its errors translated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from memr_client.errors import InvalidRequest, StoreFull, Unavailable
from redis import ConnectionError, Redis, RedisError, TimeoutError
from redis.backoff import ExponentialBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from memr_service.store.address import shown

FORMS = "redis://host:6379/0, redis+cluster://host:6379 or redis+sentinel://host:26379,host:26379/name (rediss: TLS)"
OLDEST = (6, 2)
WAIT_MS = 1000

Value = bytes | str | int


class Server:
    """A connection to the server at a URL. Every key begins with `prefix`.

    ?prefix=NAME keeps several stores apart on one server (default memr); ?wait=N makes a commit wait for N replicas.

    Raises:
        InvalidRequest: the URL has another form.
        Unavailable: the server cannot be reached, is too old, or may evict keys.
    """

    def __init__(self, url: str) -> None:
        self.where = shown(url)
        try:
            parts = urlsplit(url)
            options = parse_qs(parts.query, keep_blank_values=True)
            self.prefix = options.pop("prefix", ["memr"])[-1]
            self.replicas = int(options.pop("wait", ["0"])[-1])
            if options or not parts.netloc or not self.prefix or self.replicas < 0 or set("{}") & set(self.prefix):
                raise ValueError(url)
            with _at_start(self.where):
                self.client = _connect(parts)
                infos = self._infos()
        except ValueError:
            raise InvalidRequest(
                f"the store {self.where!r} has no form that memr knows.",
                value=self.where,
                limit=f"{FORMS}, with ?prefix=NAME and ?wait=N",
                remedy=f"Give one of: {FORMS}. Write / # ? @ in a password as %2F %23 %3F %40.",
            ) from None
        self._require_safety(infos)

    def key(self, uid: int, name: str) -> str:
        """A key of a run. The braces keep all of a run's keys in one slot of a cluster."""
        return f"{self.prefix}:{{{uid}}}:{name}"

    def script(self, name: str) -> Any:
        """The Lua script in NAME.lua; call it with keys and arguments."""
        return self.client.register_script(Path(__file__).with_name(f"{name}.lua").read_text("ascii"))

    def confirm(self, uid: int) -> None:
        """If the URL says ?wait=N, return once N replicas have everything that was written for a run.

        Raises:
            Unavailable: they do not have it in time. What was written stays, and a retry finds it by its request id.
        """
        if not self.replicas:
            return
        key = self.key(uid, "run")
        node: Any = self.client
        with translated(self.where):
            if isinstance(self.client, RedisCluster):
                node = node.get_redis_connection(node.get_node_from_key(key))
            pipe = node.pipeline(transaction=False)
            pipe.hincrby(key, "confirmed", 1)  # WAIT concerns the writes of its own connection only
            pipe.execute_command("WAIT", self.replicas, WAIT_MS)
            reached = pipe.execute()[-1]
        if reached < self.replicas:
            raise Unavailable(
                f"{reached} replicas of {self.where} have the record; {self.replicas} were asked for.",
                value=reached,
                limit=self.replicas,
                remedy="Send it again with the same request_id once they are back.",
                retry_after=1,
            )

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _require_safety(self, infos: list[dict[str, Any]]) -> None:
        for info in infos:
            version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
            policy = str(info.get("maxmemory_policy", "noeviction"))
            if version < OLDEST:
                raise Unavailable(
                    f"{self.where} is Redis {info['redis_version']}.",
                    value=info["redis_version"],
                    limit="6.2 or newer, or Valkey",
                    remedy="Use a newer one.",
                )
            if policy != "noeviction":
                raise Unavailable(
                    f"{self.where} may evict keys when its memory is full: records would vanish.",
                    value=policy,
                    limit="noeviction",
                    remedy="Set maxmemory-policy noeviction; a full store then answers 507 and loses nothing.",
                )

    def _infos(self) -> list[dict[str, Any]]:
        if isinstance(self.client, RedisCluster):
            found = self.client.info(target_nodes=RedisCluster.PRIMARIES)
            return list(found.values()) if "redis_version" not in found else [found]
        return [dict(self.client.info())]


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn errors of the client library into those that a store promises."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError) as error:
        if "command not allowed when used memory" in str(error):
            raise StoreFull(
                f"{where} has no memory left ({error}); nothing was written.",
                value=where,
                remedy="Raise its maxmemory or delete runs, then send the request again.",
            ) from error
        raise Unavailable(
            f"{where} cannot be used ({error}).",
            value=where,
            remedy="Check that it runs and takes writes; then send the request again with the same request_id.",
            retry_after=1,
        ) from error


@contextmanager
def _at_start(where: str) -> Iterator[None]:
    """Like `translated`, for somebody who has just named the server."""
    try:
        with translated(where):
            yield
    except Unavailable as error:
        raise Unavailable(
            error.detail,
            value=where,
            remedy="Start it, or correct its address and login in --store (MEMR_STORE).",
            retry_after=error.retry_after,
        ) from error


def _options() -> dict[str, Any]:
    """Options of every connection. The library may retry: a commit that is sent again is recognised by its id."""
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.01), 2)
    return {
        "protocol": 2,  # the one that every version has
        "socket_timeout": 3,
        "socket_connect_timeout": 2,
        "retry": retry,
        "retry_on_error": [ConnectionError, TimeoutError],
    }


def _connect(parts: SplitResult) -> Redis | RedisCluster:
    scheme, _, kind = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or kind not in ("", "cluster", "sentinel"):
        raise ValueError(parts.scheme)
    if kind == "sentinel":
        return _behind_sentinel(parts, tls=scheme == "rediss")
    url = parts._replace(scheme=scheme, query="").geturl()
    if kind == "cluster":
        return RedisCluster.from_url(url, **_options())
    return Redis.from_url(url, **_options())


def _behind_sentinel(parts: SplitResult, *, tls: bool) -> Redis:
    name, _, db = parts.path.strip("/").partition("/")
    if not name:
        raise ValueError("the name that the sentinels know the primary by is missing")
    login: dict[str, Any] = {"username": parts.username, "password": parts.password} if parts.password else {}
    secure: dict[str, Any] = {"ssl": True} if tls else {}
    sentinels: Any = Sentinel(_hosts(parts.netloc.rpartition("@")[2]), **_options(), **secure)  # type: ignore[no-untyped-call]
    primary: Redis = sentinels.master_for(name, db=int(db or 0), **_options(), **login, **secure)
    return primary


def _hosts(netloc: str) -> Sequence[tuple[str, int]]:
    each = [urlsplit(f"//{one}") for one in netloc.split(",")]
    return [(one.hostname or "", one.port or 26379) for one in each]
