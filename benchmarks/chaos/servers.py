"""The stores of the scenes: one Redis, one with two replicas behind a Sentinel, and a cluster."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from redis import Redis
from redis.sentinel import Sentinel
from support.redis_server import RedisServer, wait_for

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
NAME = "primary"
SLOTS = 16384
MASTERS = 3


def linked(server: RedisServer) -> bool:
    """Whether a replica has all data of its primary."""
    return bool(server.client().info("replication").get("master_link_status") == "up")


class Watched:
    """A primary with two replicas, and a Sentinel that appoints another when it dies."""

    def __init__(self) -> None:
        first = RedisServer()
        follow = ("--replicaof", "127.0.0.1", str(first.port))
        self.servers = [first, RedisServer(*follow), RedisServer(*follow)]
        for one in self.servers[1:]:
            wait_for(partial(linked, one))
        config = f"""
            sentinel monitor {NAME} 127.0.0.1 {first.port} 1
            sentinel down-after-milliseconds {NAME} 1000
            sentinel failover-timeout {NAME} 3000
        """
        self.sentinel = RedisServer("--sentinel", config=config)
        wait_for(lambda: len(self._sentinel().discover_slaves(NAME)) == 2)
        self.url = f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{NAME}?wait=1"

    @property
    def primary(self) -> RedisServer:
        """The primary according to the Sentinel."""
        found: list[int] = []
        wait_for(lambda: found.append(self._sentinel().discover_master(NAME)[1]) or True, 60)
        return next(one for one in self.servers if one.port == found[0])

    @property
    def followers(self) -> list[RedisServer]:
        """The servers that are not the primary."""
        return [one for one in self.servers if one.port != self.primary.port]

    def cut_off(self) -> list[RedisServer]:
        """Stop the followers, so that only the primary has new data. Returns them."""
        primary, followers = self.primary, self.followers
        for one in followers:
            one.freeze()
        primary.client().execute_command("CLIENT", "KILL", "TYPE", "replica")  # or the system keeps it for them
        return followers

    def fail_over(self, followers: list[RedisServer]) -> None:
        """Kill the primary, resume the followers, and wait until one of them has replaced it."""
        dead = self.primary
        dead.kill()
        for one in followers:
            one.thaw()
        wait_for(lambda: self.primary is not dead, 60)
        dead.start()
        dead.client().replicaof("127.0.0.1", str(self.primary.port))
        for one in self.followers:
            wait_for(partial(linked, one), 60)

    def close(self) -> None:
        """Stop all servers."""
        for one in (self.sentinel, *self.servers):
            one.close()

    def _sentinel(self) -> Any:
        return Sentinel([("127.0.0.1", self.sentinel.port)])  # type: ignore[no-untyped-call]


class Cluster:
    """Three primaries with a replica each."""

    def __init__(self) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *ALWAYS)
        self.servers = [RedisServer(*options, "--cluster-replica-validity-factor", "0") for _ in range(2 * MASTERS)]
        masters, replicas = self.servers[:MASTERS], self.servers[MASTERS:]
        for number, one in enumerate(masters):
            one.client().execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            slots = range(number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS)
            one.client().execute_command("CLUSTER", "ADDSLOTS", *slots)
        for one in self.servers[1:]:
            masters[0].client().execute_command("CLUSTER", "MEET", "127.0.0.1", one.port)
        for one in self.servers:
            wait_for(partial(_is_whole, one))
        for master, replica in zip(masters, replicas, strict=True):
            wait_for(partial(_follow, replica, master))
        for one in replicas:
            wait_for(partial(linked, one))
        self.url = f"redis+cluster://127.0.0.1:{masters[0].port}?wait=1"

    def fail_over(self, slot: int) -> None:
        """Kill the primary of a slot, let its replica replace it, and restart it as the replica's replica."""
        dead = self._primary_of(slot)
        dead.kill()
        wait_for(lambda: self._primary_of(slot) is not dead, 60)
        dead.start()
        wait_for(partial(linked, dead), 60)

    def _primary_of(self, slot: int) -> RedisServer:
        """The cluster's state according to its running nodes."""
        for one in self.servers:
            if one.process.poll() is None:
                for first, last, node, *_ in one.client().execute_command("CLUSTER SLOTS", NEVER_DECODE=True):
                    if first <= slot <= last:
                        return next(server for server in self.servers if server.port == node[1])
        raise TimeoutError(f"nobody serves slot {slot}")

    def close(self) -> None:
        """Stop all servers."""
        for one in self.servers:
            one.close()


def version_of(client: Redis) -> str:
    """A server's name and version."""
    info: dict[str, Any] = dict(client.info("server"))
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"


def until(instant: float) -> None:
    """Sleep until this value of `time.monotonic`."""
    time.sleep(max(0.0, instant - time.monotonic()))


def _is_whole(server: RedisServer) -> bool:
    info = server.client().execute_command("CLUSTER INFO")
    return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(2 * MASTERS))


def _follow(replica: RedisServer, master: RedisServer) -> bool:
    name = master.client().execute_command("CLUSTER MYID")
    replica.client().execute_command("CLUSTER", "REPLICATE", name)
    return True
