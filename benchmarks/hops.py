"""Where does a service under load spend its time? py-spy samples a `memr serve`, and each sample counts for a hop.

    make profile                  # installs py-spy, then: python -m benchmarks.hops

Requests of 64 completions in groups of 16 are sent one after another, first as texts for all-MiniLM-L6-v2, then with
their embeddings. A sample is one working thread, a hundred times per second. It counts for the innermost function of
memr on its stack, even if the thread is inside torch, numpy, SQLite or the system.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from benchmarks.bench.server import Server, server
from benchmarks.bench.store import BenchStore
from benchmarks.bench.trace import requests as texts
from benchmarks.loopback import requests as embeddings

HOPS = {
    "beside": ("store/texts", "app/metrics", "app/logs"),
    "schema": ("app/body", "app/routes", "engine/", "memr_client/"),
    "http": ("app/",),
    "encoder": ("encoder/",),
    "memory": ("memory/", "rewards/context", "rewards/evaluate", "rewards/groups", "rewards/score", "rewards/staging"),
    "reward": ("rewards/",),
    "store": ("store/", "state/", "run/"),
}
"""Hop -> modules of memr_service (or of another package) whose functions it is made of; the first that fits counts.
`beside` is what no response waits for: the texts' side store, metrics and logs; `store` makes records, commits and
applies them."""
WAITING = re.compile(r"^(_worker|Texts\._work|Condition\.wait|Runner\.run) ")
"""Functions that do nothing but wait, where py-spy does not know it. The last is the loop of uvloop, so that its own
work is not counted."""
FRAME = re.compile(r"(?:memr_service/|(?=memr_client/))([\w/]+\.)py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20, help="how long each load is watched (default 20)")
    seconds: int = parser.parse_args().seconds
    loads = {"texts": (lambda: (vars(one) for one in texts(16)), "all-MiniLM-L6-v2"), "embeddings": (forever, "hashed")}
    shares = {name: profiled(made(), encoder, seconds) for name, (made, encoder) in loads.items()}
    print(f"{'share of the samples, %':<26}" + "".join(f"{name:>12}" for name in shares))
    for hop in (*HOPS, "other"):
        print(f"{hop:<26}" + "".join(f"{100 * found[hop] / found.total():>12.1f}" for found in shares.values()))


def forever() -> Iterator[dict[str, Any]]:
    """The same requests with embeddings."""
    return embeddings(0)


def profiled(made: Iterator[dict[str, Any]], encoder: str, seconds: int) -> Counter[str]:
    """Number of samples of each hop while requests are served one after another."""
    with tempfile.TemporaryDirectory() as folder, server(BenchStore(f"sqlite:///{folder}"), encoder) as one:
        warm, stop = threading.Event(), threading.Event()
        load = threading.Thread(target=send, args=(one, made, warm, stop))
        load.start()
        warm.wait()
        raw = Path(folder) / "stacks"
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(one.pid), "--format", "raw"]
        command += ["--output", str(raw), "--duration", str(seconds), "--rate", "100"]
        try:
            subprocess.run(command, check=True, capture_output=True)
        finally:
            stop.set()
            load.join()
        return hops(raw.read_text().splitlines())


def send(one: Server, made: Iterator[dict[str, Any]], warm: threading.Event, stop: threading.Event) -> None:
    """Request rewards until stopped. Signals when the first response is there, after the model is loaded."""
    with one.client("load") as client:
        client.create_run(preset="memory-r+", explore_warmup_steps=0)
        for number, request in enumerate(made):
            if stop.is_set():
                return
            client.reward(**request)
            if number == 2:
                warm.set()


def hops(stacks: list[str]) -> Counter[str]:
    """Number of samples of each hop in py-spy's stacks, each "outermost;...;innermost COUNT"."""
    found: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not WAITING.match(frames[-1]):
            found[hop(frames)] += int(count)
    return found


def hop(stack: list[str]) -> str:
    """The hop of the innermost function of memr in a stack."""
    for frame in reversed(stack):
        if module := FRAME.search(frame):
            fits = (name for name, starts in HOPS.items() if any(module[1].startswith(start) for start in starts))
            return next(fits, "other")
    return "other"


if __name__ == "__main__":
    main()
