"""Rewards for logged rollouts, before a training run: `memr score` in Python.

python examples/offline_scoring.py                                  # the rollouts of `memr demo`
python examples/offline_scoring.py --rollouts rollouts.jsonl        # {"prompt", "completion", "outcome"} per line
"""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from statistics import mean

from memr_client import RewardClient


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rollouts", type=Path, default=files("memr_service.cli") / "demo.jsonl")
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    arguments = parser.parse_args()
    with arguments.rollouts.open(encoding="utf-8") as lines:
        rollouts = [json.loads(line) for line in lines]

    rewards: dict[bool, list[float]] = {True: [], False: []}
    with RewardClient.embedded(run="offline", encoder=arguments.encoder) as client:
        client.create_run(explore_warmup_steps=0)
        # One request per group, the completions of one prompt that were sampled together.
        for _, members in groupby(rollouts, key=lambda rollout: rollout["prompt"]):
            group = list(members)
            outcomes = [line["outcome"] for line in group]
            prompts, completions = ([line[name] for line in group] for name in ("prompt", "completion"))
            response = client.reward(prompts, completions, outcomes)
            for outcome, reward in zip(outcomes, response.rewards, strict=True):
                rewards[outcome > 0.5].append(reward)

    for side, values in (("right", rewards[True]), ("wrong", rewards[False])):
        print(f"{side}: {len(values)} completions, mean reward {mean(values):.3f}")


if __name__ == "__main__":
    main()
