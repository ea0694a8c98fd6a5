"""All keys of a Redis as bytes that any version can read: MessagePack of key -> [type, value]."""

from __future__ import annotations

from typing import Any

import msgpack
from redis import Redis


def dump(client: Redis) -> bytes:
    """The keys of a database with their values, but without the times at which they expire."""
    return bytes(msgpack.packb({key: _value(client, key) for key in sorted(client.keys())}))


def load(client: Redis, dumped: bytes) -> None:
    """Write what `dump` read into an empty database."""
    for key, (kind, value) in msgpack.unpackb(dumped).items():
        if kind == "string":
            client.set(key, value)
        elif kind == "hash":
            client.hset(key, mapping=dict(value))
        elif kind == "list":
            client.rpush(key, *value)
        elif kind == "zset":
            client.zadd(key, dict(value))
        else:
            for entry, fields in value:
                client.xadd(key, dict(fields), id=entry)


def _value(client: Redis, key: bytes) -> Any:
    kind = client.type(key).decode()
    if kind == "string":
        return [kind, client.get(key)]
    if kind == "hash":
        return [kind, sorted(client.hgetall(key).items())]
    if kind == "list":
        return [kind, client.lrange(key, 0, -1)]
    if kind == "zset":
        return [kind, client.zrange(key, 0, -1, withscores=True)]
    if kind == "stream":
        return [kind, [[entry, list(fields.items())] for entry, fields in client.xrange(key)]]
    raise ValueError(f"{key!r} is a {kind}")
