"""ms-swift (4.6): the memory's reward, added to swift's own rewards.

MEMR_URL=http://127.0.0.1:8000 MEMR_RUN=swift-grpo swift rlhf --rlhf_type grpo \\
    --external_plugins swift_reward.py --reward_funcs accuracy memr ...
"""

import os
from typing import Any

from memr_client.trl import memory_reward
from swift.rewards import ORM, orms


class Memr(ORM):
    """The memory's reward, with swift's `accuracy` as the outcome."""

    def __init__(self, args: Any = None, **kwargs: Any) -> None:
        super().__init__(args, **kwargs)
        self.accuracy = orms["accuracy"](args)
        # Only rows with "train" in the data set's column `split` are remembered.
        service = {"url_or_client": os.environ["MEMR_URL"], "run": os.environ["MEMR_RUN"]}
        self.memory = memory_reward(**service, outcome=self.judge, split_column="split")

    def judge(self, prompts: list[Any], completions: list[str], **columns: Any) -> list[float]:
        return self.accuracy(completions, **columns)

    def __call__(self, completions: list[str], messages: list[list[Any]], **columns: Any) -> list[float | None]:
        prompts = [chat[:-1] for chat in messages]  # a chat ends with its completion
        return self.memory(prompts=prompts, completions=completions, **columns)


orms["memr"] = Memr
