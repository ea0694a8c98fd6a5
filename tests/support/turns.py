"""A group of completions of several turns, and a config of runs whose unit is the turn."""

from __future__ import annotations

from typing import Any

from memr_client import RewardClient
from memr_client.schemas import RewardResponse

CONFIG: dict[str, Any] = {"preset": "memory-r+", "explore_warmup_steps": 0}
LOOK = "Let me look into the table."
ASK = [{"role": "user", "content": "How tall is the tower?"}]


def chat(*turns: str) -> list[dict[str, Any]]:
    """A completion of these turns of the assistant, with what a tool said between them."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        messages += [{"role": "assistant", "content": turn}, {"role": "tool", "content": f"a tool's word on {turn}"}]
    return messages[:-1]


GROUP = [
    chat(LOOK, "The table says 300 m.", "It is 300 m tall."),
    chat(LOOK, "It is 300 m."),
    chat("I guess.", "It is 12 m."),
    chat("No idea."),
]
OUTCOMES = [1.0, 1.0, 0.0, 0.0]


def send(client: RewardClient, completions: list[Any] = GROUP, **fields: Any) -> RewardResponse:
    outcomes = fields.pop("outcomes", OUTCOMES[: len(completions)])
    return client.reward([ASK] * len(completions), completions, outcomes, **fields)
