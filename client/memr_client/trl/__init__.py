"""memr in TRL: a reward function for GRPOTrainer and RLOOTrainer, and a callback that checkpoints the memory.

correct = wrap(correctness)                                                      # your verifier
memory = memory_reward("http://127.0.0.1:8000", run="gsm8k-seed0", outcome=correct)
trainer = GRPOTrainer(..., reward_funcs=[correct, memory], callbacks=[MemoryCheckpoint(memory)])

plan_prompts(trainer, memory)                                                    # optional: memr plans the prompts

Needs trl >= 1.0. The same function works with trl.experimental.async_grpo.
"""

from memr_client.trl.checkpoint import MemoryCheckpoint
from memr_client.trl.outcome import SharedOutcome, wrap
from memr_client.trl.plan import plan_prompts
from memr_client.trl.reward import MemoryReward, memory_reward

__all__ = ["MemoryCheckpoint", "MemoryReward", "SharedOutcome", "memory_reward", "plan_prompts", "wrap"]
