"""How many bytes does a completion take, and how many does a core score per second? (`size`, `rate` in docs/results)

    python benchmarks/sizing.py           # two minutes; on an otherwise idle machine

A run of 20,000 completions (d = 384, groups of 16, sent as embeddings,
without texts, all in memory) is made over each store. Bytes per completion, in a folder's files or in Redis' memory:
"journal" holds every completion ever scored; "snapshot" holds the memory when the service stops (there may be two at a
time). "Resident" is the growth of the service's process. Completions per second are per second of processor time of
service and client in one process, without HTTP: as embeddings from the same runs, as texts from real GSM8K solutions.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
import psutil
from memr_client import RewardClient
from redis import Redis
from support.real_data import solutions
from support.redis_server import RedisServer

COMPLETIONS, GROUP, D = 20_000, 16, 384
TEXTS = 512


def fill(url: str, storage: str) -> dict[str, float]:
    """Make the run in its own process. Returns its sizes and times per completion."""
    rng, process = np.random.default_rng(0), psutil.Process()
    with RewardClient.embedded(url, run="run", encoder="hashed", text_quota_bytes=0) as client:
        client.create_run(preset="memory-r+", storage=storage)
        before, began = process.memory_info().rss, time.process_time()
        for number in range(COMPLETIONS // GROUP):
            prompts = rng.normal(size=D).astype(np.float32)[None].repeat(GROUP, 0)
            rows = rng.normal(size=(GROUP, D)).astype(np.float32)
            sent = {"prompts": prompts, "completions": prompts + rows}
            client.reward([str(number)] * GROUP, [""] * GROUP, rng.integers(2, size=GROUP), embeddings=sent)
        seconds, resident = time.process_time() - began, process.memory_info().rss - before
    sizes = in_redis(url) if url.startswith("redis") else in_folder(Path(url.removeprefix("sqlite:///")))
    return {"rate": COMPLETIONS / seconds, "resident": resident / COMPLETIONS, **sizes}


def in_folder(folder: Path) -> dict[str, float]:
    """Bytes per completion in a folder: of the database and of the other files."""
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    journal = sizes.pop(folder / "memr.db")
    return {"journal": journal / COMPLETIONS, "snapshot": sum(sizes.values()) / COMPLETIONS}


def in_redis(url: str) -> dict[str, float]:
    """Bytes per completion in Redis' memory, by purpose of the keys."""
    found = {"journal": 0.0, "snapshot": 0.0}
    with Redis.from_url(url) as redis:
        for key in redis.scan_iter():
            kind = "snapshot" if b":snapshot" in key else "journal"
            found[kind] += redis.memory_usage(key, samples=0) / COMPLETIONS
    return found


def texts() -> dict[str, float]:
    """Completions per second encoded by all-MiniLM-L6-v2: GSM8K questions, each with the solutions of four models."""
    with RewardClient.embedded(run="run") as client:
        client.reward(["first"], ["the model is loaded"], [1])
        began = time.process_time()
        for one in solutions()[: TEXTS // 4]:
            said = [solution["solution"] for solution in one["solutions"]]
            right = [solution["is_correct"] for solution in one["solutions"]]
            client.reward([one["question"]] * len(said), said, right)
        return {"rate": TEXTS / (time.process_time() - began)}


def apart(*arguments: str) -> dict[str, float]:
    """The result of a separate process on one core."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    asked = [sys.executable, __file__, "--in-this-process", *arguments]
    found: dict[str, float] = json.loads(subprocess.check_output(asked, env=os.environ | one_thread))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-this-process", nargs="*", help=argparse.SUPPRESS)
    asked = parser.parse_args().in_this_process
    if asked is not None:
        print(json.dumps(fill(*asked) if asked else texts()))
        return
    print(f"{'store':9}{'storage':9}{'journal':>10}{'snapshot':>10}{'resident':>10}{'completions/s and core':>25}")
    for storage in ("float32", "float16"):
        with tempfile.TemporaryDirectory() as folder, RedisServer("--appendonly", "no") as server:
            for store, url in (("folder", f"sqlite:///{folder}"), ("Redis", server.url)):
                found = apart(url, storage)
                sizes = "".join(f"{found[name]:>8.0f} B" for name in ("journal", "snapshot", "resident"))
                print(f"{store:9}{storage:9}{sizes}{found['rate']:>25,.0f}", flush=True)
    print(f"texts, all-MiniLM-L6-v2: {apart()['rate']:.0f} completions/s and core")


if __name__ == "__main__":
    main()
