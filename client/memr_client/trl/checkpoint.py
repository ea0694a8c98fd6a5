"""`MemoryCheckpoint`: wherever the policy goes back to, the memory goes with it."""

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
    """Marks the memory with every checkpoint of the trainer, and restores it when the trainer resumes.

    trainer = GRPOTrainer(..., reward_funcs=[correct, memory], callbacks=[MemoryCheckpoint(memory)])
    trainer.train(resume_from_checkpoint=True)

    The memory's checkpoint has the name of the trainer's folder, `checkpoint-N`, and goes when the trainer removes that
    folder for its `save_total_limit`. `checkpoint-0` is the memory as training found it: who begins again at step 0
    begins with that. Rank 0 does all of it while the others wait.

    After a checkpoint in the middle of a generation, TRL resumes with new completions. Where a resumed run shall equal
    an uninterrupted one, choose `save_steps` in multiples of `steps_per_generation * num_iterations /
    gradient_accumulation_steps`. Asynchronous GRPO scores while it saves: there the memory may be some groups ahead.

    Raises:
        UnknownCheckpoint: the trainer resumes from a checkpoint that the memory was not part of.
        MemrError: the service failed; training ends rather than go on with a memory of another policy.
    """

    def __init__(self, reward: MemoryReward) -> None:
        self._reward = reward
        self._marked: int | None = None
        self._folders: set[str] = set()

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Let the reward recognise evaluation."""
        self._bind(model)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Bring the memory to where the policy is."""
        self._bind(model)
        # Only asynchronous GRPO has no such argument; its rollouts come from one process, group by group.
        self._reward.open(synchronous=hasattr(args, "steps_per_generation"))
        self._marked = None
        if state.is_world_process_zero:
            self._folders = _folders(args)
            if state.global_step:
                self._reward.client.restore(self._reward.run_id, _name(state))
            else:
                self._begin_again(_name(state))
        wait_for_all()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Mark the memory before the trainer writes its folder: no folder exists without."""
        if control.should_save:
            self._mark(state)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """As `on_step_end`, where the trainer saves by epochs."""
        if control.should_save:
            self._mark(state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Mark the memory where something else made the trainer save; drop the marks of removed folders."""
        self._mark(state)
        if state.is_world_process_zero and args.save_total_limit is not None:
            folders = _folders(args)
            for removed in self._folders - folders:
                with suppress(UnknownCheckpoint):
                    self._reward.client.delete_checkpoint(self._reward.run_id, removed)
            self._folders = folders
        # No rank may score its next batch before the mark is set.
        wait_for_all()

    def _bind(self, model: Any) -> None:
        if model is not None:
            self._reward.bind(model)

    def _mark(self, state: TrainerState) -> None:
        if state.is_world_process_zero and self._marked != state.global_step:
            self._reward.client.create_checkpoint(self._reward.run_id, _name(state), step=state.global_step)
            self._marked = state.global_step

    def _begin_again(self, name: str) -> None:
        client, run_id = self._reward.client, self._reward.run_id
        begun = {checkpoint.name: checkpoint for checkpoint in client.checkpoints(run_id)}.get(name)
        if begun is None:
            client.create_checkpoint(run_id, name, step=0)
            return
        if (later := client.run(run_id).position - begun.position) > 0:
            warnings.warn(
                f"memr: training begins at step 0, so run {run_id!r} goes back to {name!r} and leaves {later} records "
                "on an old branch. To train a new policy with an old memory, fork the run under a new name.",
                stacklevel=2,
            )
        client.restore(run_id, name)


def _name(state: TrainerState) -> str:
    return f"checkpoint-{state.global_step}"


def _folders(args: TrainingArguments) -> set[str]:
    """Names of the trainer's checkpoints that are on disk."""
    return {folder.name for folder in Path(args.output_dir or ".").glob("checkpoint-*")}
