"""verifiers (verifiers 0.4), and prime-rl, which trains on its tasks: a task that adds the memory's reward to its own.

class MyTask(MemoryTask): ...     # its @vf.reward methods stay as they are

Set MEMR_URL, MEMR_RUN and MEMR_GROUP_SIZE (rollouts per prompt); in evaluations MEMR_MODE=eval.
"""

import os
from typing import Any

import verifiers.v1 as vf
from memr_client import AsyncRewardClient, RewardClient

url, run, mode = os.environ["MEMR_URL"], os.environ["MEMR_RUN"], os.environ.get("MEMR_MODE", "train")
with RewardClient(url, run=run) as client:
    client.create_run(barrier="snapshot", group_size=int(os.environ["MEMR_GROUP_SIZE"]))
memory = AsyncRewardClient(url, run=run)


class MemoryTask(vf.Task):
    """What comes before the policy's first message is the prompt, the rest of the trace is the completion."""

    async def score(self, trace: vf.Trace, runtime: Any = None) -> None:
        await super().score(trace, runtime)
        nodes = trace.branches[-1].nodes if trace.branches else []
        first = next((at for at, node in enumerate(nodes) if node.sampled), None)
        if first is None or self.scoring_deferred:
            return
        chat = [node.message.model_dump(mode="json", exclude_none=True) for node in nodes]
        told = await memory.reward([chat[:first]], [chat[first:]], [trace.reward], mode=mode)
        trace.record_reward("memory", told.rewards[0])
