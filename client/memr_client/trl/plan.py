"""`plan_prompts`: a trainer of TRL samples the prompts that memr plans."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from memr_client.data_set import DataSet
from memr_client.schemas import Objective
from memr_client.trl.ranks import of_first_rank, this_rank, wait_for_all
from memr_client.trl.reward import MemoryReward

KEPT_AS = "memr_plan"
"""Name of what a plan needs to go on, in the trainer's `trainer_state.json`."""
PREFETCH = 2
"""Batches that each worker of a data loader draws ahead, unless the trainer says otherwise."""


def plan_prompts(
    trainer: Any, reward: MemoryReward, *, lag: int | None = None, objective: Objective = "spread"
) -> None:
    """Let a GRPOTrainer or RLOOTrainer sample the prompts that the reward's run plans, in place of a shuffle.

    trainer = GRPOTrainer(..., reward_funcs=[correct, memory], callbacks=[MemoryCheckpoint(memory)])
    plan_prompts(trainer, memory)
    trainer.train()

    The trainer's data set becomes the run's pool. The number of steps, the size of groups and how they are spread over
    ranks stay as they are. A generation is planned with what was known after the generation `1 + lag` before it, and
    the prompts of those between are left out. Rank 0 asks, and tells the others.

    Args:
        trainer: before `train()`. Its data set has rows (no IterableDataset).
        reward: one of its `reward_funcs`. If it has `prompt_ids`, they are the prompts' ids.
        lag: generations that are drawn but not yet scored when one is planned. Default: what the trainer's data loader
            draws ahead.
        objective: what makes a prompt worth sampling, see `PlanRequest`.

    Raises:
        ValueError: the data set has no rows or fewer prompts than a generation, or lag is less than the data loader's.
    """
    plan = PlannedPrompts(trainer, reward, lag, objective)
    trainer._get_train_sampler = plan.sampler
    trainer.add_callback(plan)
    reward.on_scored = plan.on_scored


class PlannedPrompts(TrainerCallback):
    """See `plan_prompts`. Generations are numbered from 0, through all epochs."""

    _base: int | None
    """The position before the first generation; None: not known yet, or this is not rank 0."""

    def __init__(self, trainer: Any, reward: MemoryReward, lag: int | None, objective: Objective) -> None:
        args, data = trainer.args, trainer.train_dataset
        if not (isinstance(data, Sized) and hasattr(data, "__getitem__")):
            raise ValueError(f"plan_prompts needs a data set with rows, not a {type(data).__name__}")
        self._reward = reward
        self._objective = objective
        self._group_size = trainer.num_generations
        self._prompts = args.generation_batch_size // trainer.num_generations
        self._accumulated = args.gradient_accumulation_steps
        self._repeats = trainer.num_iterations * args.steps_per_generation
        """Micro-batches that a generation serves."""
        self._of_epoch = len(data) // self._prompts
        self._data = DataSet(data["prompt"], None if reward.prompt_ids is None else data[reward.prompt_ids])
        if len(self._data) < self._prompts:
            raise ValueError(
                f"a generation has {self._prompts} prompts, but the data set only {len(self._data)}: add prompts, or "
                "lower generation_batch_size"
            )
        ahead = args.dataloader_num_workers * (args.dataloader_prefetch_factor or PREFETCH)
        needed = (self._accumulated + ahead) // self._repeats
        self._lag = needed if lag is None else lag
        if self._lag < needed:
            raise ValueError(f"lag is {lag}, but the trainer draws {needed} generations ahead: leave lag out")
        self._begin(0, {})

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the pool, and go on from what the trainer's checkpoint kept.

        Raises:
            ValueError: the trainer resumes without skipping the data that it has seen.
        """
        if state.global_step and args.ignore_data_skip:
            raise ValueError("plan_prompts cannot resume with ignore_data_skip=True: leave it out")
        self._reward.open()
        epoch, step = divmod(state.global_step, self._steps_of_epoch())
        first = epoch * self._of_epoch + step * self._accumulated // self._repeats
        kept: Any = state.stateful_callbacks
        self._begin(first, kept.get(KEPT_AS, {}) if state.global_step else {})
        if this_rank().part == 0:
            self._data.set_pool(self._reward.client, self._reward.run_id)
            if self._base is None:
                self._base = self._reward.client.run(self._reward.run_id).position
        # No rank may score before the position is read.
        wait_for_all()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Keep in the trainer's state what a resumed training needs."""
        kept: Any = state.stateful_callbacks  # a dict by now
        kept[KEPT_AS] = {
            "base": self._base,
            "positions": [*self._positions.items()],
            "picks": [*self._picks.items()],
        }

    def on_scored(self, position: int | None) -> None:
        """A generation was scored by the record at this position; None: its rewards were dropped."""
        newest = next(reversed(self._positions.values()), self._base)
        self._positions[self._scored] = newest if position is None else position
        self._scored += 1
        _shorten(self._positions, self._lag)

    def sampler(self, dataset: Any = None) -> PlannedSampler:
        """The sampler of the trainer's data loader."""
        return PlannedSampler(self, self._of_epoch, self._prompts, self._group_size, self._repeats)

    def epoch(self) -> Iterator[list[int]]:
        """The rows of each generation of the next epoch."""
        start = self._next_epoch
        self._next_epoch += self._of_epoch
        for number in range(start, start + self._of_epoch):
            yield self._rows(number)

    def _begin(self, first: int, kept: dict[str, Any]) -> None:
        """Go on with a generation."""
        self._first = self._scored = first
        self._next_epoch = first - first % self._of_epoch
        self._base = kept.get("base")
        self._positions: dict[int, int | None] = dict(kept.get("positions", []))
        self._picks: dict[int, list[str]] = {
            number: ids for number, ids in kept.get("picks", []) if self._data.has(ids)
        }

    def _rows(self, number: int) -> list[int]:
        if number < self._first:
            return [0] * self._prompts  # a resumed trainer passes over these
        if number not in self._picks:
            self._picks[number] = of_first_rank(lambda: self._plan(number))
            _shorten(self._picks, self._lag)
        return self._data.rows(self._picks[number])

    def _plan(self, number: int) -> list[str]:
        known = [scored for scored in self._positions if scored <= number - 1 - self._lag]
        between = range(number - self._lag, number)
        return self._data.plan(
            self._reward.client,
            self._reward.run_id,
            self._prompts,
            self._group_size,
            in_flight=[one for drawn in between for one in self._picks.get(drawn, [])],
            position=self._positions[max(known)] if known else self._base,
            step=self._step_of(number),
            objective=self._objective,
        )

    def _steps_of_epoch(self) -> int:
        return -(-self._of_epoch * self._repeats // self._accumulated)

    def _step_of(self, number: int) -> int:
        """The trainer's step in which a generation is scored."""
        epoch, within = divmod(number, self._of_epoch)
        return epoch * self._steps_of_epoch() + within * self._repeats // self._accumulated


class PlannedSampler:
    """Row numbers in the order of TRL's `RepeatSampler`: each generation's prompts, each as often as a group has
    completions, and all of it as often as a generation serves."""

    def __init__(self, plan: PlannedPrompts, of_epoch: int, prompts: int, group_size: int, repeats: int) -> None:
        self._plan = plan
        self._group_size = group_size
        self._repeats = repeats
        self._len = of_epoch * prompts * group_size * repeats

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[int]:
        for rows in self._plan.epoch():
            for _ in range(self._repeats):
                for row in rows:
                    yield from [row] * self._group_size


def _shorten(kept: dict[int, Any], lag: int) -> None:
    """Leave what is newest, as much as plans with this lag look back, drawn ahead and one to spare."""
    while len(kept) > 2 * lag + 3:
        del kept[next(iter(kept))]
