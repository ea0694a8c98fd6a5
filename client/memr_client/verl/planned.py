"""`PlannedDataset`: verl's data set of prompts, which hands out those that memr plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig
from verl.utils.dataset.rl_dataset import RLHFDataset

from memr_client.data_set import DataSet
from memr_client.errors import InvalidRequest
from memr_client.verl.memory import memory_for
from memr_client.verl.options import Options, read_options
from memr_client.verl.sample import chat


class PlannedDataset(RLHFDataset):  # type: ignore[misc]  # verl is not type-checked
    """Hands out the prompts that the reward's run plans, whichever rows verl's sampler asks for.

    data.custom_cls.path=pkg://memr_client.verl.planned
    data.custom_cls.name=PlannedDataset
    data.dataloader_num_workers=0
    '+data.memr=${reward.reward_kwargs.memr}'
    '+reward.reward_kwargs.memr.group_size=${actor_rollout_ref.rollout.n}'

    The training files become the run's pool; prompts are known by their text. Each batch is planned with all that is
    known when verl fetches it. Where verl fetches prompts one by one (its asynchronous trainers and filters of groups),
    `train_batch_size` of them are planned at once, and those of the plan before are taken to be in flight.

    Files for validation are handed out as they are.
    """

    def __init__(self, data_files: Any, tokenizer: Any, config: DictConfig, *args: Any, **kwargs: Any) -> None:
        """Like verl's.

        Raises:
            InvalidRequest: an option is missing or does not fit.
        """
        super().__init__(data_files, tokenizer, config, *args, **kwargs)
        self._options: Options | None = None
        if _files(data_files) == _files(config.get("train_files")):
            self._options = _options(config)
            self._prompts = DataSet(self._chats())
            self._batch = min(int(config.train_batch_size), len(self._prompts))
            self._pool_is_set = False
            self._next: list[str] = []
            """Ids that are planned and not handed out."""
            self._last: list[str] = []
            """Ids of the last plan."""

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """As many planned prompts as rows are asked for.

        Raises:
            MemrError: the service failed, or refused to plan.
        """
        if self._options is None:
            return [self[row] for row in rows]
        while len(self._next) < len(rows):
            self._next += self._planned(max(len(rows), self._batch), in_flight=len(rows) < self._batch)
        ids, self._next = self._next[: len(rows)], self._next[len(rows) :]
        return [self[row] for row in self._prompts.rows(ids)]

    def state_dict(self) -> dict[str, Any]:
        """What verl's checkpoint keeps of the data set."""
        return {} if self._options is None else {"next": self._next, "last": self._last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if self._options is not None:
            for name in ("next", "last"):
                ids = state.get(name, [])
                setattr(self, f"_{name}", [*ids] if self._prompts.has(ids) else [])

    def _chats(self) -> list[Any]:
        """Each row's prompt as rewards are asked with it."""
        if {self.image_key, self.video_key, self.audio_key}.isdisjoint(self.dataframe.column_names):
            return [chat(prompt) for prompt in self.dataframe[self.prompt_key]]
        return [chat(self[row]["raw_prompt"]) for row in range(len(self))]

    def _planned(self, n: int, in_flight: bool) -> list[str]:
        options = self._options
        assert options is not None
        assert options.group_size is not None
        memory = memory_for(options, divides=False)  # it rewards nothing
        if not self._pool_is_set:
            # Not before: verl restores the run's checkpoint after it has made its data sets.
            memory.open("group")
            self._prompts.set_pool(memory.client, None)
            self._pool_is_set = True
        self._last = self._prompts.plan(
            memory.client, None, n, options.group_size, in_flight=self._last if in_flight else []
        )
        return self._last


def _files(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else [*(given or [])]


def _options(config: DictConfig) -> Options:
    options = read_options(config.get("memr") or {})
    if options.group_size is None:
        raise InvalidRequest(
            "memr plans for groups, and does not know their size.",
            remedy="Set +reward.reward_kwargs.memr.group_size=${actor_rollout_ref.rollout.n} in verl's configuration.",
        )
    if workers := config.get("dataloader_num_workers", 0):
        raise InvalidRequest(
            "memr plans in verl's own process, and each worker of a data loader would plan the same prompts.",
            value=workers,
            limit=0,
            remedy="Set data.dataloader_num_workers=0.",
        )
    if _files(config.get("val_files")) == _files(config.get("train_files")):
        raise InvalidRequest(
            "data.val_files are data.train_files, so memr cannot tell validation from training.",
            remedy="Give the validation files another path.",
        )
    return options
