"""Peers that hold connections: they send nothing, half a header, a body byte by byte, or most of a large one."""

from __future__ import annotations

import random
import resource
import time
from contextlib import ExitStack
from functools import partial

from benchmarks.attack.target import NO_ANSWER, Attack, Target

HEAD = b"POST /reward HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LARGE = 16 << 20
LENGTH = f"Content-Length: {LARGE + (1 << 20)}\r\n\r\n".encode()
CONNECTIONS = 400
"""Connections of one attacker."""


def raise_limit(target: Target) -> None:
    """Let this process hold the connections of all attackers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def hold(first: bytes, drop: bytes, target: Target, rng: random.Random) -> None:
    """Open connections, send `first` on each, then `drop` every second, and see what they get."""
    with ExitStack() as stack:
        held = []
        for _ in range(CONNECTIONS):
            if target.over:
                break
            try:
                connection = stack.enter_context(target.connect())
                connection.sendall(first)
            except OSError:
                target.count(NO_ANSWER)
                continue
            connection.setblocking(False)
            held.append(connection)
        while held and not target.over:
            time.sleep(1 + rng.random() / 10)
            for connection in list(held):
                try:
                    connection.send(drop)
                    got = connection.recv(4096)
                except BlockingIOError:
                    continue
                except OSError:
                    got = b""
                held.remove(connection)
                target.count(int(got.split()[1]) if got.startswith(b"HTTP/1.1 ") else NO_ANSWER)
        for _ in held:
            target.count(NO_ANSWER)


ATTACKS = (
    Attack("connections that send nothing", partial(hold, b"", b""), raise_limit),
    Attack("half headers", partial(hold, HEAD, b"X-More: 1\r\n"), raise_limit),
    Attack("slow bodies", partial(hold, HEAD + b"Content-Length: 100000\r\n\r\n{", b" "), raise_limit),
    Attack("large bodies without an end", partial(hold, HEAD + LENGTH + b" " * LARGE, b" "), raise_limit),
)
