"""The methods of the experiment: memory rewards, and the controls that a memory reward must beat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Method:
    """A training's differences from plain GRPO."""

    about: str
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of `examples.grpo.config.Config`; empty: plain GRPO with format and correctness."""

    @property
    def is_control(self) -> bool:
        """Whether the reward uses no information from a memory."""
        memory = self.changes.get("memory")
        return memory is None or not {"random", "shuffled"}.isdisjoint(memory.get("components", ()))


EXPLORE = {"explore_warmup_prompts": 0, "explore_warmup_steps": 6}
"""explore's warm-up: a tenth of the training, as the paper's 50 steps are a tenth of its training."""
RELEASED = {"explore_warmup_prompts": 17, "explore_warmup_steps": 0}
"""The same for the released code's rule: a fifteenth of the prompts, as its 500 are a fifteenth of GSM8K's."""


def _memory(about: str, memory: dict[str, Any], **changes: Any) -> Method:
    """The paper's settings for a `memory` without a preset, independent of the server's default."""
    return Method(about, {"memory": {"preset": "memory-r+", **memory}, **changes})


GATED = {"format_gated": True}
"""Wrong completions get no format reward. This avoids the trap without a memory."""

GATED_ENTROPY = {**GATED, "entropy_bonus": 0.01}
"""The best control on the tuning seeds; `value-gated-entropy`, `random` and `shuffled` add to it."""

VALUE_2, VALUE_100 = {"components": {"value": 2.0}}, {"components": {"value": 100.0}}
RANDOM = {"components": {"random": 1.65}}
"""Uniform in [0, 1), with a standard deviation of 0.29. That of `value` within groups was 0.24 on the tuning seeds."""
SHUFFLED = {"components": {"shuffled": 2.0}}

METHODS: dict[str, Method] = {
    "r1": Method("plain GRPO: format (up to 2) and correctness (1)"),
    "r1-kl": Method("KL to the warm start, 0.04", {"kl": 0.04}),
    "r1-reweighted": Method("correctness 100; 300 does as well", {"correctness_weight": 100.0}),
    "r1-format-0.2": Method("format at a fifth of its weight", {"format_weight": 0.2}),
    "r1-format-gated": Method("format paid only when right", GATED),
    "r1-gated-entropy": Method("format paid only when right, entropy bonus 0.01", GATED_ENTROPY),
    "r1-cosine": Method("cosine length reward, 1", {"length_weight": 1.0}),
    "r1-drgrpo": Method("Dr. GRPO: neither advantages nor tokens normalised", {"variant": "dr-grpo"}),
    "r1-entropy": Method("entropy bonus, 0.01", {"entropy_bonus": 0.01}),
    "random": _memory("`r1-gated-entropy`, and noise of value's spread", RANDOM, **GATED_ENTROPY),
    "shuffled": _memory("`r1-gated-entropy`, and exploit, 2, dealt out at random", SHUFFLED, **GATED_ENTROPY),
    "memory-r": _memory("exploit, 1", {"preset": "memory-r"}),
    "memory-r-2": _memory("exploit, 2", {"components": {"exploit": 2.0}}),
    "memory-r+": _memory("exploit and explore, 1 and 1", EXPLORE),
    "official-memory-r": _memory("the released code's order, which leaks the outcome", {"preset": "official-memory-r"}),
    "official-memory-r+": _memory(
        "the released code's order, with explore", {"preset": "official-memory-r+", **RELEASED}
    ),
    "guarded": _memory("the preset of that name", {"preset": "guarded", **EXPLORE}),
    "contrast": _memory("contrast, 1", {"components": {"contrast": 1.0}}),
    "contrast-kl": _memory("contrast, 2, and KL, 0.04", {"components": {"contrast": 2.0}}, kl=0.04),
    "value": _memory("value, 1", {"components": {"value": 1.0}}),
    "value-reweighted": _memory("`r1-reweighted`, and value, 100", VALUE_100, correctness_weight=100.0),
    "value-gated-entropy": _memory("`r1-gated-entropy`, and value, 2", VALUE_2, **GATED_ENTROPY),
}
"""Methods by name, in the order of the report."""


def fields(method: str, task: str, seed: int) -> dict[str, Any]:
    """Fields of `Config` for a training of the tiny model."""
    plain = {"model": "tiny", "task": task, "seed": seed, "memory": None}
    return {**plain, **METHODS[method].changes}
