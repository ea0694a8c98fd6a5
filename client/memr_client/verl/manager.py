"""`MemoryRewardManager`: verl's reward manager, with the memory's reward on top of whatever outcome verl finds."""

from __future__ import annotations

from typing import Any

from verl import DataProto
from verl.experimental.reward_loop.reward_manager import NaiveRewardManager

from memr_client.verl.memory import memory_for
from memr_client.verl.options import read_options
from memr_client.verl.outcome import verdict
from memr_client.verl.sample import Sample, chat, is_evaluation, step_of
from memr_client.verl.score import scores


class MemoryRewardManager(NaiveRewardManager):  # type: ignore[misc]  # verl is not type-checked
    """verl's naive manager judges a completion, by `reward.custom_reward_function` or verl's default; then memr does.

    It knows what a reward function is not told: verl's group (`uid`), the completion's place in it, the step and the
    prompt. So groups are exact, in every epoch, and a sample that is sent twice counts once. Options stand under
    `reward.reward_kwargs.memr`; a run that does not exist is created with barrier="group" and verl's `rollout.n`.
    """

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        given = config.reward.get("reward_kwargs", {}).get("memr", {})
        self._memory = memory_for(read_options({"group_size": config.actor_rollout_ref.rollout.n, **given}))

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """The reward of a trajectory (its last sequence) and its parts, as `scores` names them.

        Raises:
            MemrError: the service refused, or failed for too long. There is no made-up reward.
        """
        judged = await super().run_single(data)
        said = judged["reward_extra_info"]
        if "memory_reward" in said:
            raise ValueError(
                "with memr's reward manager, custom_reward_function gives the outcome alone: leave memr out"
            )
        judgement = verdict({**said, "score": judged["reward_score"]})
        answer = await self._memory.reward_async(await self._sample(data[-1:][0]), judgement.outcome)
        parts = scores(judgement, answer, self._memory.weight)
        return {"reward_score": parts["score"], "reward_extra_info": parts}

    async def _sample(self, item: Any) -> Sample:
        about = item.non_tensor_batch
        extra_info = about.get("extra_info", {})
        # The dataloader's step where the trainer tells it, else the version of the policy's weights.
        step = about.get("global_steps", extra_info.get("global_steps"))
        place = about.get("session_id")
        return Sample(
            prompt=chat(about["raw_prompt"]),
            completion=await self.loop.run_in_executor(None, self._decode, item),
            evaluation=is_evaluation(extra_info),
            step=step_of(step),
            group=str(about["uid"]),
            place=None if place is None else int(place),
        )

    def _decode(self, item: Any) -> str:
        response = item.batch["responses"]
        length = int(item.batch["attention_mask"][-response.shape[-1] :].sum())
        text: str = self.tokenizer.decode(response[:length], skip_special_tokens=True)
        return text
