"""Do rewards depend on the number of ranks? Two ranks that share groups, compared with one that has all of them.

    python benchmarks/ranks.py

`torchrun` starts two processes (gloo, on the CPU). Each step has four groups of four real solutions, cut so that both
ranks have a part of the second group. After a random pause, each rank sends its part with `step`, `part` and `parts` to
a run with `barrier: "step"`. Five runs are compared bit for bit with each other and with one rank that sends whole
steps, for embeddings sent by the ranks and for three ways of encoding in the service.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from memr_client import RewardClient

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.real_data import solutions
from support.serving import serving

GROUPS, GROUP, D = 4, 4, 384
STEPS, RUNS = 6, 5
CUT = 6
"""Items of a step on rank 0: one group and half of the next."""

MINILM = {"encoder": "all-MiniLM-L6-v2"}
WAYS: dict[str, dict[str, Any]] = {
    "embeddings sent": {"encoder": "hashed"},
    "hashed": {"encoder": "hashed"},
    "MiniLM": MINILM,
    "MiniLM, deterministic": {**MINILM, "deterministic": True},
}
"""Variant -> config of its runs."""


def batch(way: str, step: int, first: int = 0, last: int = GROUPS * GROUP) -> dict[str, Any]:
    """Items `first` to `last` of a step."""
    questions = [solutions()[(3 * step + group) % 8] for group in range(GROUPS)]
    solved = [(one["question"], solution) for one in questions for solution in one["solutions"]][first:last]
    request: dict[str, Any] = {
        "prompts": [question for question, _ in solved],
        "completions": [solution["solution"] for _, solution in solved],
        "outcomes": [float(solution["is_correct"]) for _, solution in solved],
        "step": step,
    }
    if way == "embeddings sent":
        prompts = np.random.default_rng(0).normal(size=(8, D))[[(3 * step + group) % 8 for group in range(GROUPS)]]
        rows = np.random.default_rng(1 + step).normal(size=(GROUPS * GROUP, D)).astype(np.float32)
        sent = np.repeat(prompts, GROUP, axis=0).astype(np.float32)
        request["embeddings"] = {"prompts": sent[first:last], "completions": rows[first:last]}
    return request


def configure(client: RewardClient, run_id: str, way: str, barrier: str) -> None:
    client.create_run(run_id, preset="memory-r+", explore_warmup_steps=0, window=20, barrier=barrier, **WAYS[way])


def rank(url: str, out: Path) -> None:
    """One of the two processes. The first one writes all rewards to a file."""
    from torch import distributed

    distributed.init_process_group("gloo")
    part, parts = distributed.get_rank(), distributed.get_world_size()
    first, last = [0, CUT, GROUPS * GROUP][part : part + 2]
    paid: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    with RewardClient(url) as client:
        for way in WAYS:
            for number in range(RUNS):
                run_id = f"{way.replace(' ', '-').replace(',', '')}-{number}"
                configure(client, run_id, way, "step")
                pause = np.random.default_rng([part, number])
                rewards: list[float] = []
                for step in range(STEPS):
                    time.sleep(pause.uniform(0, 0.05))
                    slice_ = batch(way, step, first, last)
                    answer = client.reward(**slice_, run_id=run_id, part=part, parts=parts)
                    gathered: list[Any] = [None] * parts
                    distributed.all_gather_object(gathered, answer.rewards)
                    rewards += [reward for of_rank in gathered for reward in of_rank]
                paid[way].append(rewards)
    if part == 0:
        out.write_text(json.dumps(paid))
    distributed.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank-of", nargs=2, metavar=("URL", "FILE"), help=argparse.SUPPRESS)
    if told := parser.parse_args().rank_of:
        rank(told[0], Path(told[1]))
        return
    alone: dict[str, list[float]] = {way: [] for way in WAYS}
    with (
        tempfile.TemporaryDirectory() as folder,
        serving("--encoder", "all-MiniLM-L6-v2", MEMR_ENCODERS="hashed") as url,
        RewardClient(url) as client,
    ):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        subprocess.run([*torchrun, __file__, "--rank-of", url, f"{folder}/paid"], check=True)
        together: dict[str, list[list[float]]] = json.loads(Path(folder, "paid").read_text())
        for number, way in enumerate(WAYS):
            configure(client, f"alone-{number}", way, "none")
            for step in range(STEPS):
                alone[way] += client.reward(**batch(way, step), run_id=f"alone-{number}").rewards
    print(f"{'embeddings':<24}{'different of 5 runs':>20}{'equal to one rank':>19}{'largest difference':>20}")
    for way in WAYS:
        different = len({tuple(rewards) for rewards in together[way]})
        equal = sum(rewards == alone[way] for rewards in together[way])
        largest = max(float(np.abs(np.subtract(rewards, alone[way])).max()) for rewards in together[way])
        print(f"{way:<24}{different - 1:>20}{equal:>14} of {RUNS}{largest:>20.2g}")


if __name__ == "__main__":
    main()
