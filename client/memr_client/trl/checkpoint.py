"""`MemoryCheckpoint`: a callback that checkpoints and restores the memory together with the policy."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from memr_client.errors import UnknownCheckpoint
from memr_client.trl.ranks import wait_for_all
from memr_client.trl.reward import MemoryReward


class MemoryCheckpoint(TrainerCallback):
    """Makes a checkpoint of the memory with every checkpoint of the trainer, and restores it when the trainer resumes.

    trainer = GRPOTrainer(..., reward_funcs=[correct, memory], callbacks=[MemoryCheckpoint(memory)])
    trainer.train(resume_from_checkpoint=True)

    The memory's checkpoint has the name of the trainer's folder, `checkpoint-N`. It is deleted when the trainer removes
    that folder because of `save_total_limit`. `checkpoint-0` is the memory before training; training that starts again
    at step 0 restores it. Rank 0 does all this while the other ranks wait.

    If the trainer saves in the middle of a generation, TRL resumes with new completions. For a resumed run that equals
    an uninterrupted one, make `save_steps` a multiple of `steps_per_generation * num_iterations /
    gradient_accumulation_steps`. Asynchronous GRPO scores while it saves, so its memory may be some groups ahead.

    Raises:
        UnknownCheckpoint: the trainer resumes from a checkpoint that the memory does not have.
        MemrError: the service failed. Training ends, because the memory would no longer match the policy.
    """

    def __init__(self, reward: MemoryReward) -> None:
        self._reward = reward
        self._saved_step: int | None = None
        self._folders: set[str] = set()

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Bind the model, so that the reward recognises evaluation."""
        self._bind(model)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Restore the memory to the step that the trainer starts at."""
        self._bind(model)
        # Only asynchronous GRPO lacks this argument. Its rollouts come from one process, group by group.
        self._reward.open(synchronous=hasattr(args, "steps_per_generation"))
        self._saved_step = None
        if state.is_world_process_zero:
            self._folders = _folders(args)
            if state.global_step:
                self._reward.client.restore(self._reward.run_id, _name(state))
            else:
                self._start(_name(state))
        wait_for_all()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save the memory before the trainer writes its folder, so that every folder has a memory checkpoint."""
        if control.should_save:
            self._save(state)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Like `on_step_end`, for a trainer that saves after each epoch."""
        if control.should_save:
            self._save(state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save the memory if another cause made the trainer save, and delete the checkpoints of removed folders."""
        self._save(state)
        if state.is_world_process_zero and args.save_total_limit is not None:
            folders = _folders(args)
            for removed in self._folders - folders:
                with suppress(UnknownCheckpoint):
                    self._reward.client.delete_checkpoint(self._reward.run_id, removed)
            self._folders = folders
        # No rank may score its next batch before the checkpoint exists.
        wait_for_all()

    def _bind(self, model: Any) -> None:
        if model is not None:
            self._reward.bind(model)

    def _save(self, state: TrainerState) -> None:
        if state.is_world_process_zero and self._saved_step != state.global_step:
            self._reward.client.create_checkpoint(self._reward.run_id, _name(state), step=state.global_step)
            self._saved_step = state.global_step

    def _start(self, name: str) -> None:
        """Create the checkpoint of step 0, or restore it if training started before."""
        client, run_id = self._reward.client, self._reward.run_id
        first = {checkpoint.name: checkpoint for checkpoint in client.checkpoints(run_id)}.get(name)
        if first is None:
            client.create_checkpoint(run_id, name, step=0)
            return
        if (later := client.run(run_id).position - first.position) > 0:
            warnings.warn(
                f"memr: training starts at step 0, so run {run_id!r} goes back to {name!r} and leaves {later} records "
                "on an old branch. To train a new policy with an old memory, fork the run under a new name.",
                stacklevel=2,
            )
        client.restore(run_id, name)


def _name(state: TrainerState) -> str:
    return f"checkpoint-{state.global_step}"


def _folders(args: TrainingArguments) -> set[str]:
    """Names of the trainer's checkpoint folders on disk."""
    return {folder.name for folder in Path(args.output_dir or ".").glob("checkpoint-*")}
