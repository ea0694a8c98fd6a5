"""`memory_reward`: the memory's reward as a reward function of TRL."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from memr_client.calls import Config, run_config
from memr_client.client import RewardClient
from memr_client.embedded import SERVER
from memr_client.errors import (
    BadResponse,
    DeadlineExceeded,
    InternalError,
    Overloaded,
    ServiceUnreachable,
    StoreFull,
    Unavailable,
    UnknownRun,
)
from memr_client.names import checked_name
from memr_client.plain import plain_outcomes
from memr_client.schemas import PresetName, RewardResponse, RunConfig
from memr_client.tries import checked_seconds
from memr_client.trl.advice import Advice
from memr_client.trl.metrics import metrics
from memr_client.trl.outcome import KEPT_BATCHES, RewardFunction, Source, column, frozen
from memr_client.trl.phase import Phase
from memr_client.trl.ranks import this_rank
from memr_client.trl.truncation import truncated

if TYPE_CHECKING:
    from typing_extensions import Self

FAILURES = (ServiceUnreachable, BadResponse, Overloaded, Unavailable, DeadlineExceeded, StoreFull, InternalError)
"""Errors of the service. All others are the caller's and are always raised."""
PAUSE_S = 2.0
"""Seconds between a failed call, with all its tries, and the next call."""


Asks = Literal["reward", "outcome"]
HalfUsed = deque[tuple[Asks, Sequence[Any], Any, "_Scored"]]
"""Batches that one of a trainer's two functions has asked for: which, the completions, all arguments, the result."""


def memory_reward(
    url_or_client: str | RewardClient,
    *,
    run: str | None = None,
    outcome: RewardFunction | str,
    answers: Source | None = None,
    references: Source | None = None,
    labels: Source | None = None,
    prompt_ids: str | None = None,
    weight: float = 1.0,
    equal_spread: float | None = None,
    preset: PresetName | None = None,
    config: Config = None,
    on_failure: Literal["raise", "drop"] = "raise",
    patience_s: float = 600.0,
    split_column: str | None = None,
    name: str = "memory",
) -> MemoryReward:
    """A reward function for `reward_funcs` of GRPOTrainer and RLOOTrainer that returns memr's rewards.

    memory_reward("http://127.0.0.1:8000", run="gsm8k-seed0", outcome="is_correct")     # a column of the data set
    memory_reward(RewardClient(url, api_key=key), run="gsm8k-seed0", outcome=correctness)  # a verifier; see `wrap`

    A trainer calls it once per rank and generation (every `steps_per_generation * num_iterations` micro-steps) with
    this rank's part of each group. If the run does not exist, it is created with barrier="step", so that rewards do not
    depend on the number of ranks. Asynchronous GRPO calls it with one whole group; its run is created without a
    barrier.

    Evaluation does not change the memory. A batch is evaluation inside `with reward.evaluating():`, or by
    `split_column`, or if the trainer's model is in evaluation mode. The model is known from TRL's `log_metric`, from
    `bind` or from a `MemoryCheckpoint`.

    Args:
        url_or_client: address of the service, or a client.
        run: the run's name. Default: the client's run.
        outcome: a verifier in TRL's form, which may be asynchronous, or a column with the outcomes. A completion whose
            outcome is None or NaN is neither remembered nor rewarded.
        answers: the final answer of each completion, from a function or a column, for components that compare answers
            and for suspects. Default: found by the run's `extract`, if it has one.
        references: the right answer of each prompt, from a function or a column; wrong ones are found among them
            (`RewardClient.suspects`).
        labels: the class of each completion, from a function or a column, for components that compare classes.
        prompt_ids: a column with the prompts' ids. Default: equal texts are one prompt.
        weight: factor of every reward.
        equal_spread: largest spread of the rewards in a group whose outcomes are all equal, before `weight`. Default:
            0 with a warning if the trainer divides rewards by their deviation in the group (`scale_rewards="group"`),
            which would enlarge them to the whole advantage; otherwise the run's.
        preset: preset of the run, the same as `config=RunConfig(preset=...)`.
        config: config of the run, which is created if it does not exist. An existing run must have the same config.
            Neither preset nor config: use an existing run whatever its config.
        on_failure: `raise` raises the error if the service fails. `drop` returns None (no reward) for all completions
            of the call and logs their share. With several ranks nothing is dropped, since the other ranks would keep
            their rewards: a rank tries for `patience_s`, which must be below the trainer's `ddp_timeout`, then raises.
        patience_s: seconds; see `on_failure`.
        split_column: a column with the name of the split. Rows of a split that is not training are not remembered.
        name: the function's name in the trainer's metrics: `rewards/NAME/mean`, `NAME/exploit`.

    Raises:
        ValueError: no run is named, or an argument is not valid.
    """
    client = RewardClient(url_or_client, run=run) if isinstance(url_or_client, str) else url_or_client
    if (run_id := client.run_id if run is None else checked_name(run)) is None:
        raise ValueError("no run is named: pass run=...")
    if on_failure not in ("raise", "drop"):
        raise ValueError(f"on_failure is 'raise' or 'drop', not {on_failure!r}")
    sources = {"outcome": outcome, "answers": answers, "references": references}
    sources |= {"labels": labels, "prompt_ids": prompt_ids}
    given = {column: source for column, source in sources.items() if source is not None}
    for column_name, source in given.items():
        if not (isinstance(source, str) or callable(source)):
            raise ValueError(f"{column_name} is a function or the name of a column, not a {type(source).__name__}")
    chosen = run_config(config, preset)
    patience = checked_seconds(patience_s, "patience_s", least=0)
    return MemoryReward(client, run_id, given, weight, equal_spread, chosen, on_failure, patience, split_column, name)


@dataclass(frozen=True)
class _Scored:
    """A batch's rewards and the outcomes that count; None where there are none."""

    rewards: list[float | None]
    outcomes: list[float | None]


class _UsedOutcome:
    """A reward function that returns the outcomes that count (`MemoryReward.outcome`)."""

    def __init__(self, memory: MemoryReward, name: str) -> None:
        self.__name__ = name
        self._memory = memory

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """The outcome of each completion (n) that counts; None for one without an outcome."""
        return self._memory._of_batch("outcome", prompts, completions, columns).outcomes


class MemoryReward:
    """See `memory_reward`. Thread-safe. Picklable if `outcome` and the client are."""

    def __init__(
        self,
        client: RewardClient,
        run_id: str,
        sources: dict[str, Source],
        weight: float,
        equal_spread: float | None,
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
        self.prompt_ids = sources.get("prompt_ids")
        self.on_scored: Callable[[int | None], None] | None = None
        """A function that is called with each training batch's position, or None where its rewards were dropped."""
        self._equal_spread = equal_spread
        self._sources = sources
        self._config = config
        self._on_failure = on_failure
        self._patience_s = patience_s
        self._phase = Phase(split_column)
        self._resolved: RunConfig | None = None
        self._advice = Advice()
        self._lock = threading.Lock()
        self._shares = False  # whether the trainer also calls `outcome`
        self._half_used: HalfUsed = deque(maxlen=KEPT_BATCHES)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """The weighted reward of each completion (n); None for a completion without an outcome or a dropped call.

        Raises:
            ValueError: outcomes are missing, or the batch mixes training and evaluation.
            MemrError: the service did not respond or refused the request.
        """
        return self._of_batch("reward", prompts, completions, columns).rewards

    @property
    def outcome(self) -> Callable[..., list[float | None]]:
        """A reward function that returns the outcomes that count, for a run that repairs.

        memory = memory_reward(url, run="gsm8k-seed0", outcome=correctness, references="answer")
        reward_funcs = [memory.outcome, memory]                      # in place of [correctness, memory]

        Both come from one request. Where nothing is repaired, they are those of `outcome`.
        """
        self._shares = True
        source = self._sources["outcome"]
        return _UsedOutcome(self, source if isinstance(source, str) else getattr(source, "__name__", "outcome"))

    def _of_batch(
        self, asks: Asks, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
    ) -> _Scored:
        """What a trainer's batch earns. The reward and its `outcome` share the request of a batch.

        Args:
            asks: the function that the trainer calls.
        """
        contents = frozen({"prompts": prompts, "completions": completions, **columns}) if self._shares else None
        with self._lock:
            for place, (asked, of, known, scored) in enumerate(self._half_used):
                if asked != asks and of is completions and known == contents:
                    del self._half_used[place]
                    return scored
        scored = self._score(prompts, completions, columns)
        if self._shares:
            with self._lock:
                self._half_used.append((asks, completions, contents, scored))
        return scored

    def _score(self, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]) -> _Scored:
        batch = self._batch(prompts, completions, columns)
        judged = [item for item, outcome in enumerate(batch["outcomes"]) if outcome is not None]
        started = time.perf_counter()
        response = self._request(columns, {name: [values[item] for item in judged] for name, values in batch.items()})
        rewards: list[float | None] = [None] * len(completions)
        outcomes: list[float | None] = [*batch["outcomes"]]
        if response is not None:
            for item, reward in zip(judged, response.rewards, strict=True):
                rewards[item] = self.weight * reward
            for item, used in zip(judged, response.outcomes_used or [], strict=response.outcomes_used is not None):
                outcomes[item] = used
        self._log(columns.get("log_metric"), response, time.perf_counter() - started)
        return _Scored(rewards, outcomes)

    def bind(self, trainer: Any) -> Self:
        """Recognise evaluation by the mode of this trainer or model. Returns the function itself."""
        self._phase.bind(trainer)
        return self

    def evaluating(self) -> AbstractContextManager[None]:
        """A context in which every call, from any thread, is an evaluation."""
        return self._phase.evaluating()

    def open(self, synchronous: bool = True) -> RunConfig:
        """The run's config. Creates the run if it does not exist.

        Args:
            synchronous: all ranks call once in every step, so a new run gets barrier="step".

        Raises:
            ValueError: the client is embedded and the trainer has several ranks.
        """
        if self.client.url == "http://embedded" and this_rank().parts > 1:
            raise ValueError(f"an embedded memr serves one process, but the trainer has several ranks. {SERVER}")
        with self._lock:
            self._resolved = self._find_or_create({"barrier": "step"} if synchronous else {})
            return self._resolved

    def _find_or_create(self, barrier: dict[str, Any]) -> RunConfig:
        if self._config is not None:
            fields = {} if "barrier" in self._config.model_fields_set else barrier
            return self.client.create_run(self.run_id, self._config, **fields).config
        try:
            return self.client.run(self.run_id).config
        except UnknownRun:
            return self.client.create_run(self.run_id, **barrier).config

    def _batch(
        self, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
    ) -> dict[str, Sequence[Any]]:
        """The columns of a request, with n values each."""
        values = {name: column(source, name, prompts, completions, columns) for name, source in self._sources.items()}
        outcomes = plain_outcomes(values.pop("outcome"), len(completions))
        if (cut := truncated(columns.get("completion_ids"), self._phase.trainer(columns))) is not None:
            values["truncated"] = cut
        return {"prompts": prompts, "completions": completions, "outcomes": outcomes, **values}

    def _request(self, columns: Mapping[str, Any], batch: dict[str, Any]) -> RewardResponse | None:
        """The service's response; None if the service failed and the rewards may be dropped."""
        state = columns.get("trainer_state")
        # Asynchronous GRPO passes no state. Its one process calls once per complete group.
        part, parts = this_rank() if state is not None else (0, 1)
        if training := not self._phase.is_evaluation(columns):
            # All tries carry one request id, so that the batch is remembered once.
            batch["request_id"] = uuid4().hex
            if state is not None:
                batch |= {"step": state.global_step, "part": part, "parts": parts}
        else:
            batch["mode"] = "eval"
        ends = time.monotonic() + (self._patience_s if parts > 1 and self._on_failure == "drop" else 0.0)
        while True:
            try:
                config = self._resolved or self.open(synchronous=state is not None)
                spread = self._spread(config, self._phase.trainer(columns))
                response = self.client.reward(run_id=self.run_id, equal_spread=spread, **batch)
            except FAILURES as error:
                if time.monotonic() < ends:
                    time.sleep(PAUSE_S)
                elif parts > 1 or self._on_failure == "raise":
                    raise
                else:
                    with self._lock:
                        text = "no memory reward for this batch, and for later ones while the service fails:"
                        self._advice.once("dropped", f"{text} {error.in_one_line}")
                    if training and self.on_scored is not None:
                        self.on_scored(None)
                    return None
            else:
                if training:
                    self._advise(batch["outcomes"], config, parts)
                    if self.on_scored is not None:
                        self.on_scored(response.position)
                return response

    def _spread(self, config: RunConfig, trainer: Any) -> float | None:
        """The request's `equal_spread`; None: the run's."""
        if self._equal_spread is not None:
            return self._equal_spread
        with self._lock:
            return self._advice.equal_spread(getattr(trainer, "args", None), config)

    def _advise(self, outcomes: Sequence[float], config: RunConfig, parts: int) -> None:
        with self._lock:
            self._advice.on_outcomes(outcomes, config)
            self._advice.on_barrier(config, parts)

    def _log(
        self, log_metric: Callable[[str, float], None] | None, response: RewardResponse | None, seconds: float
    ) -> None:
        if log_metric is None:
            return
        log_metric(f"{self.__name__}/seconds", seconds)
        if self._on_failure == "drop":
            log_metric(f"{self.__name__}/dropped", float(response is None))
        if response is not None:
            for name, value in metrics(response):
                log_metric(f"{self.__name__}/{name}", value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_half_used")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._half_used = deque(maxlen=KEPT_BATCHES)
