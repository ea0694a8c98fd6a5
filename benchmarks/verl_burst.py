"""A step of verl against a `memr serve` on this machine: 64 groups of 16, one completion per call, all at once.

    python benchmarks/verl_burst.py

verl's reward workers, in Ray actors, score samples as verl's agent loop passes them: first with verl's scorer alone;
then with memr's reward manager over a working network; then over one that refuses, loses, delays and duplicates a fifth
of all first tries. Every sample must get a reward, the memory must hold each once, and every raw value must equal that
of one request per group. The time is that of a whole step, from tokens to rewards, with the `hashed` encoder. It needs
verl, ray and hydra-core (`make setup` installs them).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import ray
from memr_client import RewardClient
from support.serving import serving
from support.unreliable import unreliable
from support.verl_loop import MANAGER, Rollouts, agent_loop, configure, in_batches, play, save_tokenizer
from verl.experimental.reward_loop import RewardLoopWorker

TIMEOUT_S = 20
"""Seconds after which a try counts as lost; a response takes less on any machine."""


def memory(url: str, run: str) -> list[str]:
    """verl's settings for the memory's reward."""
    said = {"url": url, "run": run, "timeout": TIMEOUT_S}
    return [*MANAGER, *(f"+reward.reward_kwargs.memr.{name}={value}" for name, value in said.items())]


def step(how: list[str], rollouts: Rollouts, model: Path, workers: int) -> tuple[dict[Any, dict[str, Any]], float]:
    """verl's results by (group, index), and the seconds of the step."""
    tokenizer = save_tokenizer(model)
    config = configure(model, *how, f"actor_rollout_ref.rollout.n={rollouts.size}")
    handles = [ray.remote(RewardLoopWorker).options(num_cpus=0).remote(config) for _ in range(workers)]
    ray.get([handle.__ray_ready__.remote() for handle in handles])
    began = time.perf_counter()
    kept = asyncio.run(play(agent_loop(handles), tokenizer, rollouts))
    seconds = time.perf_counter() - began
    for handle in handles:
        ray.kill(handle)
    return kept, seconds


def check(client: RewardClient, run: str, rollouts: Rollouts, kept: dict[Any, dict[str, Any]], folder: Path) -> int:
    """Check everything. Returns the number of raw values that were compared."""
    groups, samples = len(rollouts.questions), len(rollouts.questions) * rollouts.size
    found = client.run(run, digest=True)
    stored = found.memory.success.completions + found.memory.failure.completions
    assert (len(kept), stored, found.position) == (samples, samples, groups), (len(kept), found)
    chats = [rollouts.prompt(group)["raw_prompt"] for group in range(groups)]
    digest, raw = in_batches(client, run, rollouts, chats, 1, folder)
    assert found.digest == digest
    for seat, values in raw.items():
        assert all(kept[seat][name] == value for name, value in values.items()), (seat, kept[seat], values)
    return sum(len(values) for values in raw.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=64)
    parser.add_argument("--size", type=int, default=16, help="completions of a group")
    parser.add_argument("--workers", type=int, default=4, help="Ray actors (verl's own default is 8)")
    options = parser.parse_args()
    rollouts = Rollouts(options.groups, options.size)
    samples = options.groups * options.size
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder, serving("--store", f"sqlite:///{folder}/data") as url:
        client = RewardClient(url)
        config = {"preset": "memory-r+", "group_size": options.size, "explore_warmup_steps": 0}
        for run in ("sound", "faulty"):
            client.create_run(run, barrier="group", barrier_timeout_s=600, **config)
        model = Path(folder)
        _, seconds = step([], rollouts, model, options.workers)
        print(f"verl alone: {samples} samples in {seconds:.2f} s")
        kept, seconds = step(memory(url, "sound"), rollouts, model, options.workers)
        compared = check(client, "sound", rollouts, kept, model)
        print(f"with memr: {samples} samples in {seconds:.2f} s; {compared} raw values equal")
        with unreliable(url, seed=0, share=0.2) as (through, proxy):
            kept, seconds = step(memory(through, "faulty"), rollouts, model, options.workers)
        compared = check(client, "faulty", rollouts, kept, model)
        met = ", ".join(f"{fault} {count}" for fault, count in proxy.met.most_common())
        print(f"over a faulty network: {samples} samples in {seconds:.2f} s; {compared} raw values equal")
        print(f"first tries: {met}; sent again: {proxy.retries}")
    ray.shutdown()


if __name__ == "__main__":
    main()
