"""How long does a service take to load a large run? 747,300 completions, a full memory for GSM8K.

    python benchmarks/cold_start.py                      # over the embedded store, then over Redis; some minutes
    python benchmarks/cold_start.py --storage float16

The run has 7,473 prompts with 100 completions each, all successes, sent as embeddings with d = 384. Then the service
stops, and a new process opens the store, loads the run, and scores a group of 16. The data is in the system's cache, or
in the memory of a Redis on the same machine. The goal is 3 s.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from memr_client import RewardClient

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.redis_server import RedisServer

PROMPTS, L, D, AT_ONCE = 7_473, 100, 384, 80
GOAL_S = 3.0
EMBEDDED = {"encoder": "hashed", "preload": False, "max_items": AT_ONCE * L, "text_quota_bytes": 0}


def fill(url: str, storage: str) -> None:
    """Create the run, and shut down as a service does."""
    rng = np.random.default_rng(0)
    with RewardClient.embedded(url, run="full", snapshot_bytes=1 << 34, **EMBEDDED) as client:
        client.create_run(preset="memory-r+", storage=storage)
        for first in range(0, PROMPTS, AT_ONCE):
            numbers = np.repeat(np.arange(first, min(first + AT_ONCE, PROMPTS)), L)
            prompts = rng.normal(size=(len(numbers) // L, D)).astype(np.float32).repeat(L, axis=0)
            client.reward(
                [str(number) for number in numbers],
                [""] * len(numbers),
                np.ones(len(numbers)),
                embeddings={"prompts": prompts, "completions": prompts + rng.normal(size=(len(numbers), D))},
            )


def opened(url: str) -> dict[str, float]:
    """Seconds until the run is loaded and until a group is scored, in this process, without imports."""
    rows = np.random.default_rng(1).normal(size=(16, D))
    RewardClient.embedded(**EMBEDDED).close()
    began, used = time.perf_counter(), time.process_time()
    with RewardClient.embedded(url, run="full", **EMBEDDED) as client:
        memory = client.run().memory
        there, used = time.perf_counter() - began, time.process_time() - used
        assert memory.success.completions == PROMPTS * L
        client.reward(
            ["0"] * 16, [""] * 16, np.ones(16), embeddings={"prompts": rows[:1].repeat(16, 0), "completions": rows}
        )
        return {"there_s": there, "used_s": used, "scored_s": time.perf_counter() - began}


@contextmanager
def stores() -> Iterator[dict[str, str]]:
    """The URL of an empty store of each kind."""
    with tempfile.TemporaryDirectory() as folder, RedisServer("--appendonly", "no") as server:
        yield {"embedded": f"sqlite:///{folder}/data", "Redis": server.url}


def main() -> None:
    """Print a line for each store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", choices=["float32", "float16"], default="float32")
    parser.add_argument("--open", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        print(json.dumps(opened(options.open)))
        return
    with stores() as urls:
        for name, url in urls.items():
            fill(url, options.storage)
            took = [json.loads(subprocess.check_output([sys.executable, __file__, "--open", url])) for _ in range(3)]
            there, used, scored = (sorted(one[what] for one in took)[1] for what in ("there_s", "used_s", "scored_s"))
            verdict = "holds" if there <= GOAL_S else "MISSED"
            print(f"{name:<10}{options.storage}: the run is there after {there:.2f} s", end="")
            print(f" (at most {GOAL_S:g} s: {verdict}; {used:.2f} s of processor time),", end="")
            print(f" a group is scored after {scored:.2f} s", flush=True)


if __name__ == "__main__":
    main()
