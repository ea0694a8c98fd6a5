"""memr in verl: rewards from an episodic memory, added to verl's own by a few lines of configuration (verl 0.9.1).

Either the reward manager, which knows verl's groups and steps:

    reward.reward_manager.source=importlib
    reward.reward_manager.name=MemoryRewardManager
    reward.reward_manager.module.path=pkg://memr_client.verl.manager
    +reward.reward_kwargs.memr.url=http://127.0.0.1:8000
    +reward.reward_kwargs.memr.run=gsm8k-seed0

Or the reward function, for any reward manager that calls one per sample:

    reward.custom_reward_function.path=pkg://memr_client.verl
    reward.custom_reward_function.name=compute_score_async
    +reward.custom_reward_function.reward_kwargs.url=http://127.0.0.1:8000
    +reward.custom_reward_function.reward_kwargs.run=gsm8k-seed0
    '+reward.custom_reward_function.reward_kwargs.group_size=${actor_rollout_ref.rollout.n}'

With either, checkpoint the memory together with the policy:

    trainer.checkpoint_callback_class=memr_client.verl.checkpoint.MemoryCheckpoint

`Options` documents the options of both. Do not use verl's `rate_limited` manager: it turns failures into rewards of 0.
"""

from memr_client.verl.score import compute_score, compute_score_async

__all__ = ["compute_score", "compute_score_async"]
