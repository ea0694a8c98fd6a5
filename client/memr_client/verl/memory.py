"""`Memory`: one process's access to the run that rewards a training."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from typing import Any, Literal

from memr_client.async_client import AsyncRewardClient
from memr_client.calls import run_config
from memr_client.client import RewardClient
from memr_client.errors import InvalidRequest, MemrError, ProblemError, UnknownRun
from memr_client.schemas import RewardResponse, RunConfig
from memr_client.verl.options import Options
from memr_client.verl.sample import Sample

Barrier = Literal["group", "snapshot"]

PAUSE_S = 2.0
"""Seconds between a failed call, with all its tries, and the next call."""

_memories: dict[tuple[str, bool | None], Memory] = {}
_lock = threading.Lock()


def memory_for(options: Options, divides: bool | None = None) -> Memory:
    """This process's memory for these options. It is created once and kept, because verl calls a plain function.

    Args:
        divides: whether verl divides rewards by their deviation in the group; None: unknown.
    """
    # Of a config only the fields that were set: the others come from its preset.
    config = "" if options.config is None else options.config.model_dump_json(exclude_unset=True)
    name = (options.model_dump_json(exclude={"config"}) + config, divides)
    with _lock:
        if name not in _memories:
            _memories[name] = Memory(options, divides)
        return _memories[name]


class Memory:
    """A run of a service. Thread-safe. The first sample finds or creates the run."""

    def __init__(self, options: Options, divides: bool | None) -> None:
        self.weight = options.weight
        self._options = options
        self._divides = divides
        self._equal_spread = options.equal_spread
        self.client = RewardClient(options.url, run=options.run, timeout=options.timeout)
        self._async_client = AsyncRewardClient(options.url, run=options.run, timeout=options.timeout)
        self._opening = threading.Lock()
        self._opened = False

    def reward(self, sample: Sample, outcome: float) -> RewardResponse:
        """Score one sample.

        Raises:
            MemrError: the service refused the request, or failed for longer than the option `patience_s`.
        """
        self.open("snapshot")
        columns, patience = self._columns(sample, outcome), _Patience(self._options.patience_s)
        while True:
            try:
                return self.client.reward(**columns)
            except MemrError as error:
                time.sleep(patience.pause(error))

    async def reward_async(self, sample: Sample, outcome: float) -> RewardResponse:
        """Like `reward`. Any number of samples can wait for their groups at the same time."""
        if not self._opened:
            await asyncio.to_thread(self.open, "group")
        columns, patience = self._columns(sample, outcome), _Patience(self._options.patience_s)
        while True:
            try:
                return await self._async_client.reward(**columns)
            except MemrError as error:
                await asyncio.sleep(patience.pause(error))

    def open(self, barrier: Barrier) -> None:
        """Find or create the run, once. Explicitly, because an evaluation request would not create it.

        Args:
            barrier: barrier of a new run.

        Raises:
            InvalidRequest: the run has another group size.
            Conflict: the run exists with another config.
        """
        with self._opening:
            if not self._opened:
                config = self._find_or_create(barrier)
                self._check_size(config)
                _check_barrier(config, barrier)
                if self._equal_spread is None and self._divides is not False:
                    self._equal_spread = _held(config, self._divides)
                self._opened = True

    def _columns(self, sample: Sample, outcome: float) -> dict[str, Any]:
        return {**sample.columns(outcome), "equal_spread": self._equal_spread}

    def _find_or_create(self, barrier: Barrier) -> RunConfig:
        size, config = self._options.group_size, run_config(self._options.config, self._options.preset)
        if config is None:
            try:
                return self.client.run().config
            except UnknownRun:
                config = RunConfig()
        fields: dict[str, Any] = {}
        if "barrier" not in config.model_fields_set:
            fields["barrier"] = barrier
        if config.group_size is None:
            if size is None:
                raise InvalidRequest(
                    f"run {self._options.run!r} does not exist, and memr needs a group size to create it.",
                    remedy="Set group_size to verl's actor_rollout_ref.rollout.n.",
                )
            fields["group_size"] = size
        return self.client.create_run(config=config, **fields).config

    def _check_size(self, config: RunConfig) -> None:
        size = self._options.group_size
        if size is not None and config.group_size not in (None, size):
            raise InvalidRequest(
                f"run {self._options.run!r} waits for groups of {config.group_size}, and verl samples {size}.",
                value=size,
                limit=config.group_size,
                remedy="Choose another run or another rollout.n.",
            )


class _Patience:
    """How long one sample is sent again while the service fails. Its request id makes that safe."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def pause(self, error: MemrError) -> float:
        """Seconds until the next try. Raises `error` if it is the caller's or time is up."""
        refused = isinstance(error, ProblemError) and error.status < 500
        if refused or time.monotonic() + PAUSE_S > self._ends:
            raise error
        return PAUSE_S


def _check_barrier(config: RunConfig, barrier: Barrier) -> None:
    """Warn if the run's barrier does not fit the way verl calls."""
    if config.barrier in ("none", "step"):
        warnings.warn(
            f"memr: the run's barrier is {config.barrier!r}, but verl sends completions one by one. Create the run "
            "with barrier='group' or 'snapshot'.",
            stacklevel=2,
        )
    if config.barrier == "group" and barrier == "snapshot":
        warnings.warn(
            "memr: the run's barrier is 'group', but verl calls compute_score in few threads. If all of them wait for "
            "other members of their groups, those members have no thread. Use compute_score_async or the reward "
            "manager, or create the run with barrier='snapshot'.",
            stacklevel=2,
        )


def _held(config: RunConfig, divides: bool | None) -> float | None:
    """The `equal_spread` of requests where verl divides by the group's deviation, or may do so, with a warning.

    Under the barriers `none` and `snapshot` no group is known, and none can be held.
    """
    enlarges = (
        "divides rewards by their deviation in the group. If all completions of a group are right, or all are wrong, "
        "the memory's rewards become the whole advantage, however small they are"
    )
    if config.barrier in ("none", "snapshot"):
        may = "verl" if divides else "verl may use norm_adv_by_std_in_grpo, which"
        warnings.warn(
            f"memr: the run's barrier is {config.barrier!r}, under which no group is known as a whole, because verl "
            f"sends completions one by one. So neither equal_spread nor max_spread holds them, and {may} {enlarges}. "
            "Set algorithm.norm_adv_by_std_in_grpo=False, or create the run with barrier='group'.",
            stacklevel=2,
        )
        return 0.0 if config.barrier == "none" and config.equal_spread else None
    if config.equal_spread:
        setting = "algorithm.norm_adv_by_std_in_grpo" if divides else "verl may use norm_adv_by_std_in_grpo, which"
        warnings.warn(
            f"memr: {setting} {enlarges}. So they are 0 in such a group. To have them, set "
            f"algorithm.norm_adv_by_std_in_grpo=False, or memr's option equal_spread={config.equal_spread:g}.",
            stacklevel=2,
        )
        return 0.0
    if divides and config.max_spread is None and config.equal_spread is None:
        warnings.warn(
            f"memr: algorithm.norm_adv_by_std_in_grpo {enlarges}. Set it to False, or max_spread=0.5 in the run's "
            "config, which makes them equal in such a group.",
            stacklevel=2,
        )
    return None
