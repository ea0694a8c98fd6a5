"""Kill the server repeatedly under load, and check that no acknowledged request is lost or counted twice.

    python benchmarks/crash.py                # 50 kills, some minutes
    python benchmarks/crash.py --kills 5

Each writer sends batches with request ids to its own run, and retries each until it is acknowledged. Meanwhile the
server is killed (SIGKILL) at random moments and restarted on the same folder. At the end every batch must be in its run
exactly once, every reward must equal that of an uninterrupted run bit for bit, and `memr verify` must confirm the whole
journal.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from memr_client import RewardClient, RewardResponse, RunConfig

D, ITEMS = 64, 16
CONFIG = RunConfig(preset="memory-r+", explore_warmup_steps=0, max_prompts=8, max_completions=12, window=20, k=2)


def batch(run: int, number: int) -> dict[str, Any]:
    """Batch `number` of a run, always the same: two prompts with eight completions each, as embeddings."""
    rng = np.random.default_rng([run, number])
    names = [f"prompt {name}" for name in np.repeat(rng.integers(12, size=2), ITEMS // 2)]
    return {
        "prompts": names,
        "completions": [f"{run} {number} {item}" for item in range(ITEMS)],
        "outcomes": rng.integers(2, size=ITEMS).astype(float).tolist(),
        "step": number,
        "request_id": f"batch {number}",
        "embeddings": {
            "prompts": np.stack([np.random.default_rng(int(name.split()[1])).normal(size=D) for name in names]),
            "completions": rng.normal(size=(ITEMS, D)),
        },
    }


class Server:
    """A `memr serve` process that can be killed and restarted on the same port and folder."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "log"
        self.directory = directory / "data"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "memr_service", "serve", "--port", str(self.port), "--encoder", "hashed"]
        # Frequent snapshots, so that some kills happen during one.
        environment = os.environ | {"MEMR_SNAPSHOT_BYTES": str(1 << 18), "MEMR_PRELOAD": "false"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--store", f"sqlite:///{self.directory}"], env=environment, stderr=log, stdout=log
            )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


class Writer(threading.Thread):
    """Sends a run's batches in order until it is stopped, and records the acknowledged ones."""

    def __init__(self, url: str, run: int, stopping: threading.Event) -> None:
        super().__init__()
        self.url, self.run_number, self.stopping = url, run, stopping
        self.acknowledged: list[RewardResponse] = []

    def run(self) -> None:
        with RewardClient(self.url, run=f"run-{self.run_number}", timeout=120, retries=10_000) as client:
            client.wait(60)
            client.create_run(config=CONFIG)
            while not self.stopping.is_set():
                number = len(self.acknowledged)
                self.acknowledged.append(client.reward(**batch(self.run_number, number)))


def trial(kills: int, runs: int, seed: int) -> dict[str, int]:
    """Counts of one trial. All except `acknowledged` and `kills` must be 0."""
    rng, stopping = random.Random(seed), threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        writers = [Writer(server.url, run, stopping) for run in range(runs)]
        for writer in writers:
            writer.start()
        with RewardClient(server.url) as client:
            for killed in range(kills):
                client.wait(60)
                time.sleep(rng.expovariate(4))
                server.kill()
                server.start()
                print(
                    f"\r{killed + 1} of {kills} kills, {sum(len(w.acknowledged) for w in writers)} acknowledged", end=""
                )
        print()
        stopping.set()
        for writer in writers:
            writer.join()
        counts = {"kills": kills, "acknowledged": sum(len(writer.acknowledged) for writer in writers)}
        counts |= check(server.url, writers)
        server.stop()
        counts["unverified"] = sum(not verified(f"run-{run}", server.directory) for run in range(runs))
    return counts


def verified(run: str, directory: Path) -> bool:
    """Whether `memr verify` confirms every record of a run."""
    command = [sys.executable, "-m", "memr_service", "verify", run, "--data", str(directory)]
    return subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0


def check(url: str, writers: list[Writer]) -> dict[str, int]:
    """Compare the server's runs with the acknowledged batches and with uninterrupted runs."""
    lost = doubled = different = 0
    with RewardClient(url) as served, RewardClient.embedded() as undisturbed:
        for writer in writers:
            name = f"run-{writer.run_number}"
            undisturbed.create_run(name, CONFIG)
            for number, answer in enumerate(writer.acknowledged):
                expected = undisturbed.reward(**batch(writer.run_number, number), run_id=name)
                different += (answer.rewards, answer.chain) != (expected.rewards, expected.chain)
                again = served.reward(**batch(writer.run_number, number), run_id=name)  # the stored response
                lost += again.position != number + 1
                different += again.rewards != expected.rewards
            held, expected_run = served.run(name, digest=True), undisturbed.run(name, digest=True)
            doubled += held.position - expected_run.position
            different += held.digest != expected_run.digest
    return {"lost": lost, "doubled": doubled, "different": different}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    counts = trial(options.kills, options.runs, options.seed)
    print(json.dumps({**counts, "seconds": round(time.monotonic() - began)}))
    return int(any(counts[name] for name in ("lost", "doubled", "different", "unverified")))


if __name__ == "__main__":
    sys.exit(main())
