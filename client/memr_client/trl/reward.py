"""`memory_reward`: the memory as a reward function of TRL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from memr_client.client import RewardClient
from memr_client.embedded import INSTEAD
from memr_client.errors import (
    BadAnswer,
    DeadlineExceeded,
    InternalError,
    Overloaded,
    ServiceUnreachable,
    StoreFull,
    Unavailable,
    UnknownRun,
)
from memr_client.schemas import RewardResponse, RunConfig
from memr_client.trl.advice import Advice
from memr_client.trl.metrics import measures
from memr_client.trl.outcome import RewardFunction, Source, column, synchronous
from memr_client.trl.phase import Phase
from memr_client.trl.ranks import this_rank
from memr_client.trl.truncation import truncated

if TYPE_CHECKING:
    from typing_extensions import Self

FAILURES = (ServiceUnreachable, BadAnswer, Overloaded, Unavailable, DeadlineExceeded, StoreFull, InternalError)
"""Errors of the service. All others are the caller's, and always raised."""
PAUSE_S = 2.0
"""Between a client's last try and the first of its next ones."""


def memory_reward(
    url_or_client: str | RewardClient,
    *,
    run: str | None = None,
    outcome: RewardFunction | str,
    answers: Source | None = None,
    labels: Source | None = None,
    weight: float = 1.0,
    config: RunConfig | None = None,
    on_failure: Literal["raise", "drop"] = "raise",
    patience_s: float = 600.0,
    split_column: str | None = None,
    name: str = "memory",
) -> MemoryReward:
    """A reward function for `reward_funcs` of GRPOTrainer and RLOOTrainer: what an episodic memory says of completions.

    memory_reward("http://127.0.0.1:8000", run="gsm8k-seed0", outcome="is_correct")     # a column of the dataset
    memory_reward(RewardClient(url, api_key=key), run="gsm8k-seed0", outcome=correctness)  # a verifier; see `wrap`

    A trainer calls it once per rank and generation (every `steps_per_generation * num_iterations` micro-steps), with
    whatever part of a group this rank holds. A run that does not exist is created with barrier="step", so that rewards
    do not depend on the number of ranks; asynchronous GRPO, which calls with one whole group, gets a run without.

    Evaluation leaves the memory as it is. It is recognised by the mode of the trainer's model, which is known by TRL's
    `log_metric`, by `bind` or by a `MemoryCheckpoint`; by `split_column`; or inside `with reward.evaluating():`.

    Args:
        url_or_client: where the service listens, or a client.
        run: the run's name; the client's, where it has one.
        outcome: a verifier, called as TRL calls reward functions, or a column with the outcomes. A completion whose
            outcome is None is neither remembered nor rewarded.
        answers: the final answer of each completion, for components that compare answers: a function or a column.
        labels: the class of each completion, for components that compare classes: likewise.
        weight: factor of every reward; zero-variance groups may void it, see TRL's `scale_rewards`.
        config: how to create the run; one that exists must have been created alike. None takes a run as it is.
        on_failure: `drop` gives None, no bonus, to all completions of the call if the service fails, and logs their
            share. Several ranks never drop, since the others would keep theirs: they go on trying for `patience_s`,
            which must be below the trainer's `ddp_timeout`, and then raise.
        patience_s: seconds, see `on_failure`.
        split_column: a column that says "train" in training and anything else in evaluation.
        name: the function's name in the trainer's metrics, `rewards/NAME/mean` and `NAME/exploit`.

    Raises:
        ValueError: no run is named.
        TypeError: `outcome` is asynchronous.
    """
    client = RewardClient(url_or_client, run=run) if isinstance(url_or_client, str) else url_or_client
    run_id = run or client.run_id
    if run_id is None:
        raise ValueError("no run is named: pass run=...")
    if on_failure not in ("raise", "drop"):
        raise ValueError(f"on_failure is 'raise' or 'drop', not {on_failure!r}")
    sources = {"outcome": outcome, "answers": answers, "labels": labels}
    given = {column: synchronous(source) for column, source in sources.items() if source is not None}
    return MemoryReward(client, run_id, given, weight, config, on_failure, patience_s, split_column, name)


class MemoryReward:
    """See `memory_reward`. Thread-safe; picklable where outcome and client are, to serve another process."""

    def __init__(
        self,
        client: RewardClient,
        run_id: str,
        sources: dict[str, Source],
        weight: float,
        config: RunConfig | None,
        on_failure: Literal["raise", "drop"],
        patience_s: float,
        split_column: str | None,
        name: str,
    ) -> None:
        self.__name__ = name
        self.client = client
        self.run_id = run_id
        self.weight = weight
        self._sources = sources
        self._config = config
        self._on_failure = on_failure
        self._patience_s = patience_s
        self._phase = Phase(split_column)
        self._resolved: RunConfig | None = None
        self._advice = Advice()
        self._lock = threading.Lock()

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """The weighted reward of each completion (n); None: there is none to give.

        Raises:
            ValueError: outcomes are missing, or a batch mixes training and evaluation.
            MemrError: the service did not answer, or refused.
        """
        batch = self._batch(prompts, completions, columns)
        judged = [item for item, outcome in enumerate(batch["outcomes"]) if outcome is not None]
        started = time.perf_counter()
        answer = self._ask(columns, {name: [values[item] for item in judged] for name, values in batch.items()})
        rewards: list[float | None] = [None] * len(completions)
        if answer is not None:
            for item, reward in zip(judged, answer.rewards, strict=True):
                rewards[item] = self.weight * reward
        self._log(columns.get("log_metric"), answer, time.perf_counter() - started)
        return rewards

    def bind(self, trainer: Any) -> Self:
        """Recognise evaluation by this trainer, or model, being in evaluation mode; returns the function itself."""
        self._phase.bind(trainer)
        return self

    def evaluating(self) -> AbstractContextManager[None]:
        """A `with` block in which every call, from any thread, is an evaluation."""
        return self._phase.evaluating()

    def open(self, synchronous: bool = True) -> RunConfig:
        """The run's config, after creating the run where there is none.

        Args:
            synchronous: all ranks call once in every step, so that a new run may have them wait for each other.

        Raises:
            ValueError: several ranks, each with an embedded memory of its own.
        """
        if self.client.url == "http://embedded" and this_rank().parts > 1:
            raise ValueError("an embedded memr is one process's, and here are several ranks. " + INSTEAD)
        with self._lock:
            if self._resolved is None:
                self._resolved = self._find_or_create({"barrier": "step"} if synchronous else {})
            return self._resolved

    def _find_or_create(self, barrier: dict[str, Any]) -> RunConfig:
        if self._config is not None:
            asked = {} if "barrier" in self._config.model_fields_set else barrier
            return self.client.create_run(self.run_id, self._config, **asked).config
        try:
            return self.client.run(self.run_id).config
        except UnknownRun:
            return self.client.create_run(self.run_id, **barrier).config

    def _batch(
        self, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
    ) -> dict[str, Sequence[Any]]:
        """The columns of a request, each of n values."""
        values = {name: column(source, name, prompts, completions, columns) for name, source in self._sources.items()}
        outcomes = [None if outcome is None else float(outcome) for outcome in values.pop("outcome")]
        if (cut := truncated(columns.get("completion_ids"), self._phase.trainer(columns))) is not None:
            values["truncated"] = cut
        return {"prompts": prompts, "completions": completions, "outcomes": outcomes, **values}

    def _ask(self, columns: Mapping[str, Any], batch: dict[str, Any]) -> RewardResponse | None:
        """The service's answer, or None where it failed and the bonus may be dropped."""
        state = columns.get("trainer_state")
        # Asynchronous GRPO passes no state: its one process calls for each group, whenever that is complete.
        part, parts = this_rank() if state is not None else (0, 1)
        if training := not self._phase.is_evaluation(columns):
            # One id for all tries, however long they go on: the memory holds the batch once.
            batch["request_id"] = uuid4().hex
            if state is not None:
                batch |= {"step": state.global_step, "part": part, "parts": parts}
        else:
            batch["mode"] = "eval"
        ends = time.monotonic() + (self._patience_s if parts > 1 and self._on_failure == "drop" else 0.0)
        while True:
            try:
                config = self.open(synchronous=state is not None)
                answer = self.client.reward(run_id=self.run_id, **batch)
            except FAILURES as error:
                if time.monotonic() < ends:
                    time.sleep(PAUSE_S)
                elif parts > 1 or self._on_failure == "raise":
                    raise
                else:
                    with self._lock:
                        self._advice.once("dropped", f"no memory reward for this batch, nor while this lasts: {error}")
                    return None
            else:
                if training:
                    self._look(batch["outcomes"], config, self._phase.trainer(columns), parts)
                return answer

    def _look(self, outcomes: Sequence[float], config: RunConfig, trainer: Any, parts: int) -> None:
        with self._lock:
            self._advice.on_outcomes(outcomes, config)
            self._advice.on_trainer(getattr(trainer, "args", None), config)
            self._advice.on_barrier(config, parts)

    def _log(
        self, log_metric: Callable[[str, float], None] | None, answer: RewardResponse | None, seconds: float
    ) -> None:
        if log_metric is None:
            return
        log_metric(f"{self.__name__}/seconds", seconds)
        if self._on_failure == "drop":
            log_metric(f"{self.__name__}/dropped", float(answer is None))
        if answer is not None:
            for name, value in measures(answer):
                log_metric(f"{self.__name__}/{name}", value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
