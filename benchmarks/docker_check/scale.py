"""Compose's profile `scale` as plain processes: Redis, replicas of the image, and nginx in front of them."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from memr_client import RewardClient
from support.redis_server import RedisServer
from support.serving import free_port

from benchmarks.docker_check.image import ROOT, Builder
from benchmarks.docker_check.tools import run

REPLICAS = 2
"""Compose starts three replicas, which is too many for two cores."""


def configured(compose: list[str]) -> dict[str, dict[str, list[str] | dict[str, str]]]:
    """The profile's services, as compose reads them."""
    printed = run(*compose, "--profile", "scale", "config", "--format", "json", cwd=ROOT).stdout
    services: dict[str, dict[str, list[str] | dict[str, str]]] = json.loads(printed)["services"]
    return services


@contextmanager
def nginx(folder: Path, ports: list[int]) -> Iterator[str]:
    """nginx in front of replicas on these ports, with docker/nginx.conf except for addresses and folders; its URL."""
    port, text = free_port(), (ROOT / "docker/nginx.conf").read_text()
    text, servers = re.subn(
        r"server memr-replica:8000( .*)?;",
        lambda found: " ".join(f"server 127.0.0.1:{one}{found[1]};" for one in ports),
        text,
    )
    text, listens = re.subn(r"listen 8000;", f"listen 127.0.0.1:{port};", text)
    assert (servers, listens) == (1, 1)
    path = folder / "nginx.conf"
    path.write_text(text.replace("/tmp/", f"{folder}/"))
    run("nginx", "-t", "-q", "-c", path)
    command = ["nginx", "-c", str(path), "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:  # it says when a replica is away
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def items_of(port: int) -> int:
    """Number of completions that a replica has scored."""
    shown = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return sum(int(float(value)) for value in re.findall(r"^memr_items_total{.*} (.*)$", shown, re.MULTILINE))


def check(builder: Builder, compose: list[str], folder: Path) -> str:
    """Send a run's requests through nginx: one replica gets all of them; when it stops, the other continues."""
    services = configured(compose)
    command, environment = services["memr-redis"]["command"], services["memr-replica"]["environment"]
    assert isinstance(command, list)
    assert isinstance(environment, dict)
    ports = [free_port() for _ in range(REPLICAS)]
    with RedisServer(*command[1:]) as redis:
        here = f"127.0.0.1:{redis.port}"
        there = {name: value.replace("memr-redis:6379", here) for name, value in environment.items()}
        replicas = [builder.serving(folder / f"data-{port}", port, **there) for port in ports]
        with replicas[0] as first, replicas[1] as second, nginx(folder, ports) as url:
            for port in ports:
                RewardClient(f"http://127.0.0.1:{port}").wait(120)
            with RewardClient(url, run="scaled") as client:
                for number in range(6):
                    client.reward(["2 + 3?"] * 2, [f"It is {number}", f"{number}?"], [1, 0], step=number)
                scored = [items_of(port) for port in ports]
                assert sorted(scored) == [0, 12], scored
                chosen = first if scored[0] else second
                chosen.terminate()
                chosen.wait(60)
                began = time.monotonic()
                answer = client.reward(["2 + 3?"], ["It is 5"], [1], step=6)
                seconds = time.monotonic() - began
    assert answer.position == 7, answer
    return f"6 requests at one of {REPLICAS} replicas; once it had stopped, the 7th at the other after {seconds:.1f} s"
