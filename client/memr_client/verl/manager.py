"""`MemoryRewardManager`: verl's naive reward manager with the memory's reward added."""

from __future__ import annotations

from typing import Any

from verl import DataProto
from verl.experimental.reward_loop.reward_manager import NaiveRewardManager

from memr_client.verl.memory import memory_for
from memr_client.verl.options import read_options
from memr_client.verl.outcome import verdict_of
from memr_client.verl.sample import Sample, chat, is_evaluation, reference_of, step_of
from memr_client.verl.score import scores


class MemoryRewardManager(NaiveRewardManager):  # type: ignore[misc]  # verl is not type-checked
    """Scores a completion as verl's naive manager does, then adds the memory's reward.

    verl's score comes from `reward.custom_reward_function` or from verl's default. The manager also knows what a reward
    function is not told: verl's group (`uid`), the completion's position in it, the step and the prompt. So groups are
    exact in every epoch, and a sample that is sent twice counts once.

    Options are under `reward.reward_kwargs.memr`. A run that does not exist is created with barrier="group" and verl's
    `rollout.n`.
    """

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        given = config.reward.get("reward_kwargs", {}).get("memr", {})
        options = read_options({"group_size": config.actor_rollout_ref.rollout.n, **given})
        self._memory = memory_for(options, divides=_divides(config.algorithm))

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """The reward of a trajectory (its last sequence) and its parts under the names of `scores`.

        Raises:
            ValueError: `reward.custom_reward_function` already adds memr's reward.
            MemrError: the service refused the request or failed for too long.
        """
        judged = await super().run_single(data)
        extra = judged["reward_extra_info"]
        if "memory_reward" in extra:
            raise ValueError(
                "memr's reward manager adds the memory's reward itself: leave memr out of custom_reward_function"
            )
        verdict = verdict_of({**extra, "score": judged["reward_score"]})
        response = await self._memory.reward_async(await self._sample(data[-1:][0]), verdict.outcome)
        parts = scores(verdict, response, self._memory.weight)
        return {"reward_score": parts["score"], "reward_extra_info": parts}

    async def _sample(self, item: Any) -> Sample:
        fields = item.non_tensor_batch
        extra_info = fields.get("extra_info", {})
        # The dataloader's step if the trainer gives it, otherwise the version of the policy's weights.
        step = fields.get("global_steps", extra_info.get("global_steps"))
        index = fields.get("session_id")
        ids = _completion_ids(item)
        return Sample(
            prompt=chat(fields["raw_prompt"]),
            completion=await self.loop.run_in_executor(None, self._decode, ids),
            evaluation=is_evaluation(extra_info),
            step=step_of(step),
            group=str(fields["uid"]),
            index=None if index is None else int(index),
            truncated=self._is_cut(ids),
            reference=reference_of((fields.get("reward_model") or {}).get("ground_truth")),
        )

    def _decode(self, ids: Any) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _is_cut(self, ids: Any) -> bool:
        """Whether a completion was cut at verl's `rollout.response_length`: it is as long, and its last token ends no
        text."""
        ends = {self.tokenizer.eos_token_id, self.tokenizer.pad_token_id}
        return len(ids) >= self.config.actor_rollout_ref.rollout.response_length and int(ids[-1]) not in ends


def _completion_ids(item: Any) -> Any:
    """The tokens of a completion, without padding."""
    response = item.batch["responses"]
    return response[: int(item.batch["attention_mask"][-response.shape[-1] :].sum())]


def _divides(algorithm: Any) -> bool:
    """Whether verl's advantage estimator divides rewards by their deviation in the group: GRPO's and its variants."""
    estimator = getattr(algorithm.adv_estimator, "value", algorithm.adv_estimator)  # verl also has an enumeration
    return estimator.startswith(("grpo", "gdpo")) and bool(algorithm.get("norm_adv_by_std_in_grpo", True))
