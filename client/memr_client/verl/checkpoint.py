"""`MemoryCheckpoint`: a callback that checkpoints and restores the memory together with verl's policy."""

from __future__ import annotations

import os
from typing import Any

from verl.trainer.ppo.checkpoint_callback import CheckpointCallback
from verl.utils.checkpoint.checkpoint_manager import find_latest_ckpt_path

from memr_client.verl.memory import memory_for
from memr_client.verl.options import NAMES, read_options


class MemoryCheckpoint(CheckpointCallback):  # type: ignore[misc]  # verl is not type-checked
    """Makes a checkpoint of the memory with every checkpoint of verl, and restores it when the trainer resumes.

    trainer.checkpoint_callback_class=memr_client.verl.checkpoint.MemoryCheckpoint

    The memory's checkpoint has the name of verl's folder, `global_step_N`. `global_step_0` is the memory before
    training; training that starts again at step 0 restores it. verl's asynchronous trainers score while they save, so
    their memory may be some groups ahead.

    Raises:
        UnknownCheckpoint: the trainer resumes from a checkpoint that the memory does not have.
        MemrError: the service failed. Training ends, because the memory would no longer match the policy.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        memory = memory_for(read_options(_given_options(config)))
        memory.open("group")
        self._client = memory.client
        name = f"global_step_{_resumed_step(config.trainer)}"
        if name == "global_step_0" and name not in {checkpoint.name for checkpoint in self._client.checkpoints()}:
            self._client.create_checkpoint(None, name, step=0)
        else:
            self._client.restore(None, name)

    def on_save(self, trainer: Any, global_step: int, checkpoint_dir: str, **kwargs: Any) -> None:
        """Save the memory after verl has written its folder."""
        self._client.create_checkpoint(None, f"global_step_{global_step}", step=global_step)


def _given_options(config: Any) -> dict[str, Any]:
    """memr's options in verl's config, given to the reward manager or to the reward function."""
    size = {"group_size": config.actor_rollout_ref.rollout.n}
    if (options := config.reward.get("reward_kwargs", {}).get("memr")) is None:
        kwargs = config.reward.custom_reward_function.get("reward_kwargs", {})
        options = {name: value for name, value in kwargs.items() if name in NAMES}
    return {**size, **options}


def _resumed_step(trainer: Any) -> int:
    """The step that verl resumes from, found as verl finds it; 0 if it does not resume."""
    if trainer.resume_mode == "disable":
        return 0
    if trainer.resume_mode == "resume_path":
        folder = trainer.resume_from_path
    else:
        folder = find_latest_ckpt_path(os.path.abspath(trainer.default_local_dir))
    return 0 if folder is None else int(folder.rpartition("global_step_")[2])
