"""Episodes of several turns, trained turn by turn: a policy learns when to call a tool and which.

    python examples/episodes.py              # seconds, without a server; --unit whole for one reward an episode

The policy is a table of logits, so that the loop is all there is to read. An episode is a chat: the policy calls a tool
(or guesses), reads what it says, and answers. The outcome judges the answer. With unit `turn` the memory compares each
turn with the turns in its place, and each turn learns from its own reward. Whether that helps is not shown here.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from memr_client import RewardClient

TOWERS = {"the old tower": (212, 1874), "the tower at the sea": (61, 1903), "the iron tower": (148, 1931)}
"""Tower -> its height in metres and the year in which it was built."""
FIRST = ("look up the height", "look up the year", "guess")
THEN = ("say what the tool said", "guess")
GROUP, STEPS, RATE, SHARE = 8, 60, 0.5, 0.25


@dataclass(frozen=True)
class Episode:
    """A chat after the prompt, with the policy's choices: (state, action) for each turn."""

    messages: list[dict[str, Any]]
    choices: list[tuple[int, int]]
    right: bool


def play(tower: str, logits: np.ndarray, dice: np.random.Generator) -> Episode:
    """One episode: state 0 is the first turn, 1 and 2 are what follows a look at the height and at the year."""
    height, year = TOWERS[tower]
    first = choose(logits[0], dice)
    guess = {"role": "assistant", "content": f"I guess it is {dice.integers(40, 300)} m tall."}
    if FIRST[first] == "guess":
        return Episode([guess], [(0, first)], False)
    field, said = (("height", height), ("year", year))[first]
    call = {"function": {"name": "look_up", "arguments": {"of": tower, "field": field}}}
    messages = [{"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": str(said)}]
    then = choose(logits[1 + first, : len(THEN)], dice)
    answer = {"role": "assistant", "content": f"It is {said} m tall."} if then == 0 else guess
    return Episode([*messages, answer], [(0, first), (1 + first, then)], then == 0 and said == height)


def choose(logits: np.ndarray, dice: np.random.Generator) -> int:
    return int(dice.choice(len(logits), p=softmax(logits)))


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def learn(logits: np.ndarray, episodes: list[Episode], rewards: list[list[float]]) -> None:
    """REINFORCE for a group: each turn's reward less the mean of the group's turns in its place."""
    places = max(map(len, rewards))
    means = [np.mean([turns[place] for turns in rewards if len(turns) > place]) for place in range(places)]
    for episode, turns in zip(episodes, rewards, strict=True):
        for place, (state, action) in enumerate(episode.choices):
            options = len(FIRST) if state == 0 else len(THEN)
            gradient = -softmax(logits[state, :options])
            gradient[action] += 1
            logits[state, :options] += RATE * (turns[place] - means[place]) * gradient


def train(client: RewardClient, unit: str = "turn", seed: int = 0) -> list[float]:
    """Share of right episodes at each step."""
    dice, logits = np.random.default_rng(seed), np.zeros((3, len(FIRST)))
    client.create_run(preset="memory-r+", explore_warmup_steps=0, unit=unit)
    right = []
    for step in range(STEPS):
        tower = list(TOWERS)[step % len(TOWERS)]
        prompt = [{"role": "user", "content": f"How tall is {tower}?"}]
        episodes = [play(tower, logits, dice) for _ in range(GROUP)]
        outcomes = [float(one.right) for one in episodes]
        response = client.reward([prompt] * GROUP, [one.messages for one in episodes], outcomes, step=step)
        paid = response.turns or [
            [reward] * len(one.choices) for reward, one in zip(response.rewards, episodes, strict=True)
        ]
        learn(
            logits,
            episodes,
            [[outcome + SHARE * one for one in turns] for outcome, turns in zip(outcomes, paid, strict=True)],
        )
        right.append(float(np.mean(outcomes)))
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit", choices=["turn", "whole"], default="turn")
    parser.add_argument("--url", help="address of a memr service (default: a service inside this process)")
    parser.add_argument("--run", default="episodes", help="the run's name; use one per training")
    options = parser.parse_args()
    made = RewardClient(options.url, run=options.run) if options.url else None
    with made or RewardClient.embedded(run=options.run, encoder="hashed") as client:
        right = train(client, options.unit)
    for start in range(0, STEPS, 10):
        print(f"steps {start} to {start + 9}: {np.mean(right[start : start + 10]):.2f} right")


if __name__ == "__main__":
    main()
