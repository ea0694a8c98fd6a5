"""Two ranks of TRL share one memory: rewards must not depend on the requests' order, and must equal those of one rank.

    python benchmarks/trl_ranks.py                 # 5 trainings, a few minutes on a CPU
    python benchmarks/trl_ranks.py --runs 1 --encoder hashed

`torchrun` trains examples/trl_grpo.py --tiny on two ranks with 12 completions each, so that the second of three groups
of 8 is split over both. Every rank waits for a random time before each request. All trainings must get equal rewards
bit for bit, and so must each of their batches when it is sent again as one request of one rank.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path
from random import SystemRandom
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from memr_client import RewardClient
from support.serving import serving

RANKS, ITEMS, GROUP = 2, 12, 8
Batches = list[dict[str, list[Any]]]
"""Step -> the columns of all ranks, joined."""


class Recorded:
    """A memory reward that waits for a random time before each request, and records requests and rewards."""

    __name__ = "memory"

    def __init__(self, memory: Any, outcome: Any, file: Path) -> None:
        self._memory = memory
        self._outcome = outcome
        self._file = file

    def __call__(self, prompts: list[str], completions: list[str], **columns: Any) -> list[float | None]:
        time.sleep(SystemRandom().uniform(0, 0.1))
        rewards: list[float | None] = self._memory(prompts=prompts, completions=completions, **columns)
        outcomes = self._outcome(prompts=prompts, completions=completions, **columns)
        row = {"prompts": prompts, "completions": completions, "outcomes": outcomes, "rewards": rewards}
        with open(self._file, "a") as file:
            file.write(json.dumps(row) + "\n")
        return rewards


def train(url: str, run: str, folder: str, steps: str) -> None:
    """One rank's training."""
    import trl_grpo  # here, since what starts the ranks can do without torch

    options = trl_grpo.parse(["--tiny", "--url", url, "--run", run, "--output", folder, "--weight", "1"])
    changes = {"per_device_train_batch_size": ITEMS, "num_generations": GROUP, "max_steps": int(steps)}
    trainer = trl_grpo.make_trainer(options, **changes, save_steps=2, disable_tqdm=True)
    correct, memory = trainer.reward_funcs
    trainer.reward_funcs[-1] = Recorded(memory, correct, Path(folder, f"rank-{os.environ['RANK']}.jsonl"))
    trainer.train()


def on_all_ranks(url: str, run: str, folder: Path, steps: int) -> Batches:
    """Requests and rewards of a training on all ranks."""
    folder.mkdir()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    command = [*launcher, __file__, "--train", url, run, str(folder), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ranks = [(folder / f"rank-{rank}.jsonl").read_text().splitlines() for rank in range(RANKS)]
    steps_of_ranks = zip(*([json.loads(line) for line in lines] for lines in ranks), strict=True)
    return [{name: [one for part in parts for one in part[name]] for name in parts[0]} for parts in steps_of_ranks]


def on_one_rank(client: RewardClient, run: str, trained: Batches) -> list[list[float]]:
    """Rewards of the same batches, each sent as one request."""
    columns = [(batch["prompts"], batch["completions"], batch["outcomes"]) for batch in trained]
    return [client.reward(*batch, run_id=run, step=step, part=0, parts=1).rewards for step, batch in enumerate(columns)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--train", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(*options.train)
        return
    with tempfile.TemporaryDirectory() as folder, serving("--encoder", options.encoder, OMP_NUM_THREADS="1") as url:
        client = RewardClient(url)
        trained = []
        for number in range(options.runs):
            began = time.perf_counter()
            trained.append(on_all_ranks(url, f"two-{number}", Path(folder, str(number)), options.steps))
            info = client.run(f"two-{number}")
            assert (info.position, info.barrier and info.barrier.timeouts) == (options.steps, 0)
            marks = [(mark.name, mark.position) for mark in client.checkpoints(info.run_id)]
            assert marks[:2] == [("checkpoint-0", 0), ("checkpoint-2", 2)], marks  # set once, by rank 0
            print(f"training {number}: {time.perf_counter() - began:.1f} s", flush=True)
        client.create_run("one", info.config)
        whole = on_one_rank(client, "one", trained[0])
        digests = {client.run(info.run_id, digest=True).digest for info in client.runs()}
        client.close()
    answered = [reward for batch in trained[0] for reward in batch["rewards"]]
    apart = [abs(two - one) for two, one in zip(answered, chain.from_iterable(whole), strict=True)]
    holds = {
        f"{options.runs} trainings of {options.steps} steps saw equal rewards": all(
            one == trained[0] for one in trained
        ),
        "one rank gets the same rewards": max(apart) == 0,
        "all leave the same memory": len(digests) == 1,
    }
    for what, true in holds.items():
        print(f"{what}: {'yes' if true else 'NO'}")
    print(f"largest difference to one rank: {max(apart):g}")
    sys.exit(not all(holds.values()))


if __name__ == "__main__":
    main()
