"""`RewardClient`: every call of the service, blocking."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from memr_client import calls
from memr_client.base import CHUNK_BYTES, PROBE_S, BaseClient, complete_file
from memr_client.calls import Call, Config, Result
from memr_client.columns import Array, Columns, Texts
from memr_client.errors import BadResponse, MemrError
from memr_client.responses import error_from
from memr_client.schemas import (
    Audits,
    Backtest,
    Calibration,
    Checkpoint,
    Completions,
    Decided,
    Explanation,
    HistoryRow,
    KnownPrompts,
    Map,
    Page,
    PassRatesOverSteps,
    Plan,
    PoolInfo,
    PromptHistory,
    PromptPage,
    Provenance,
    ReplayProgress,
    ReplayResult,
    RewardResponse,
    RunConfig,
    RunInfo,
    Suspects,
    Version,
)
from memr_client.tries import Tries, checked_seconds

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class RewardClient(BaseClient[httpx.BaseTransport]):
    """Rewards from a memr service, for any trainer.

    client = RewardClient("http://127.0.0.1:8000", run="gsm8k-seed0")   # a server that `memr serve` started
    client = RewardClient(..., wait=120)                                # wait up to 120 s for it to start
    client = RewardClient.embedded(run="gsm8k-seed0")                   # the service in this process, no server
    response = client.reward(prompts, completions, outcomes, step=12)
    response.rewards                                                    # n floats

    A call raises an error if it fails; it never returns made-up rewards. If the connection breaks or the status is 429,
    502, 503 or 504, the client sends the call again with the same request id, which counts once however often it
    arrives.

    The environment may name a proxy (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY). Loopback is always direct.

    Thread-safe. Copies in other processes, forked or pickled, open their own connections.

    Args:
        url: address of the service.
        run: default run of every call.
        api_key: API key. Default: the environment variable `MEMR_API_KEY`. An empty one is
            none. Pickled copies contain it.
        timeout: seconds for a call in total, with all tries and pauses; float("inf") for no limit.
        retries: number of further tries of a call. The pauses of 8 retries add up to about 40 s. float("inf") tries
            until `timeout`.
        wait: seconds that the first call waits for a service that is still starting.
        transport: an httpx transport to use instead of sockets.

    Raises:
        InvalidRequest: an argument is not valid.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and stop an embedded service. A later call over HTTP opens new connections."""
        if (pool := self._pools.pop(os.getpid(), None)) is not None:
            pool.close()
        if self._transport is not None:
            self._transport.close()

    def reward(
        self, prompts: Texts, completions: Texts, outcomes: Sequence[float] | Array, **columns: Unpack[Columns]
    ) -> RewardResponse:
        """Score n completions and remember them.

        Args:
            prompts: the prompt of each completion (n), as strings or chat messages.
            completions: what the policy wrote (n), as strings or chat messages.
            outcomes: the verifier's reward for each completion (n). True and False count as 1 and 0.
            columns: `run_id`, `step`, `part`, `parts`, `prompt_ids`, `group_ids`, `index`, `answers`, `labels`,
                `truncated`, `request_id`, `mode` ("train" or "eval", which changes nothing) and `embeddings`
                ({"prompts": (n, d), "completions": (n, d)}), as lists or arrays of any library. `RewardRequest`
                documents each.

        Raises:
            InvalidRequest: a column does not fit.
            ServiceUnreachable, BadResponse, ProblemError: the service did not give rewards.
        """
        run_id = columns["run_id"] = self._name(columns.get("run_id"))
        response = self._do(calls.reward(prompts, completions, outcomes, **columns))
        if columns.get("mode") != "eval" and self._says_nothing(columns.get("step"), outcomes, response):
            with suppress(MemrError):
                warnings.warn(self._why(self.run(run_id).config, response), stacklevel=2)
        return response

    def create_run(self, run_id: str | None = None, config: Config = None, **fields: Any) -> RunInfo:
        """Create a run, or return the existing one if its config is the same. Without records its config is replaced.

        client.create_run("gsm8k-seed0", preset="memory-r+", k=20)

        The `warnings` of the result are also logged (`memr_client`), once each.

        Args:
            run_id: the run's name.
            config: the run's config, or its fields as a dict.
            fields: fields of `RunConfig`; they override those of `config`.

        Raises:
            Conflict: the run has records and another config.
        """
        return self._with_warnings_logged(self._do(calls.create_run(self._name(run_id), config, **fields)))

    def run(self, run_id: str | None = None, digest: bool = False) -> RunInfo:
        """A run's config, sizes and position.

        Args:
            digest: also compute the SHA-256 over the run's whole state.
        """
        return self._do(calls.run(self._name(run_id), digest))

    def runs(self) -> list[RunInfo]:
        """All runs that the API key may see."""
        return self._do(calls.runs())

    def delete_run(self, run_id: str) -> None:
        """Delete a run and everything stored for it.

        Raises:
            UnknownRun: no run has this name. An earlier try may have deleted it and its response been lost.
        """
        self._do(calls.delete_run(run_id))

    def export_run(self, run_id: str, path: str | os.PathLike[str]) -> None:
        """Write the whole run to a file. The file gets its name when it is complete."""
        call = calls.export_run(run_id)
        with self._once(call) as parts, self._pool().stream(**parts) as response, complete_file(path) as file:
            if not response.is_success:
                response.read()
                raise error_from(response, self._proxy)
            for chunk in response.iter_bytes(CHUNK_BYTES):
                file.write(chunk)

    def import_run(self, run_id: str, path: str | os.PathLike[str]) -> RunInfo:
        """Create a run from a file that `export_run` wrote.

        Raises:
            Conflict: a run with this name exists.
        """
        with open(path, "rb") as file:
            call = calls.import_run(run_id, iter(partial(file.read, CHUNK_BYTES), b""))
            with self._once(call) as parts:
                return call.read(self._pool().request(**parts), self._proxy)

    def history(self, run_id: str | None = None, after: int = 0, limit: int = 1000) -> list[HistoryRow]:
        """Statistics of the run's steps, oldest first.

        Args:
            after: start after this position. To read on, pass the last row's `position`.
            limit: most rows to return.
        """
        return self._do(calls.history(self._name(run_id), after, limit))

    def calibrate(self, run_id: str | None = None) -> Calibration:
        """Propose limits for guards from quantiles of the run's own completions.

        client.create_run("gsm8k-seed1", **client.calibrate("gsm8k-seed0").config)

        Raises:
            Conflict: the run has too few right completions so far, or an official preset.
        """
        return self._do(calls.calibrate(self._name(run_id)))

    def set_pool(self, run_id: str | None, prompt_ids: Any, prompts: Any = None) -> PoolInfo:
        """Set the prompts that the run may plan from, in place of those it had.

        Args:
            prompt_ids: an id for each prompt (m), the ones that `reward` gets as `prompt_ids`; at most 1,000,000.
            prompts: their texts (m), which find a prompt whose id differs between runs.

        Raises:
            InvalidRequest: an id comes twice.
        """
        name = self._name(run_id)
        return [self._do(call) for call in calls.set_pool(name, prompt_ids, prompts)][-1]

    def pool(self, run_id: str | None = None) -> PoolInfo:
        """How many prompts the run's pool has, and of how many something is known."""
        return self._do(calls.pool(self._name(run_id)))

    def delete_pool(self, run_id: str | None = None) -> None:
        """Remove the run's pool. What is known of its prompts stays."""
        self._do(calls.delete_pool(self._name(run_id)))

    def plan(self, run_id: str | None, n: int, group_size: int, **fields: Any) -> Plan:
        """Which prompts to sample next. It changes nothing, and equal calls as of one position get equal plans.

        Args:
            n: how many prompts to pick.
            group_size: how many completions will be sampled for each.
            fields: `candidates`, `prompts` (their texts), `exclude`, `step`, `position` and `objective`, see
                `PlanRequest`.

        Raises:
            Conflict: the run has no pool, or what it knew at that position is gone.
            InvalidRequest: there are fewer than n prompts.
        """
        return self._do(calls.plan(self._name(run_id), {"n": n, "group_size": group_size, **fields}))

    def add_prior(self, run_id: str | None, right: Any, n: Any, *, prompt_ids: Any = None, prompts: Any = None) -> None:
        """Let a run without completions start from counts, for example of an evaluation.

        Args:
            right: right completions of each prompt (m).
            n: all completions of each prompt (m).
            prompt_ids: the prompts' ids (m).
            prompts: their texts (m); needed if there are no ids.

        Raises:
            Conflict: the run has completions, or something to start from, already.
        """
        self._do(calls.add_prior(self._name(run_id), right, n, prompt_ids, prompts))

    def backtest(self, run_id: str | None = None) -> Backtest:
        """How well the run's own pass rates would have foreseen its groups, each from what was known before it."""
        return self._do(calls.backtest(self._name(run_id)))

    def suspects(
        self,
        run_id: str | None = None,
        min_probability: float = 0.5,
        limit: int = 200,
        runs: Sequence[str] = (),
        prior: float | None = None,
    ) -> Suspects:
        """References of the data set, and verdicts, that the answers seen so far contradict.

        client.suspects("gsm8k-seed1", runs=["gsm8k-seed0", "gsm8k-other-model"])

        Args:
            min_probability: only references that are wrong with this probability or more.
            limit: most references, and most verdicts, at most 10,000.
            runs: other runs whose answers count too. Prior runs count anyway.
            prior: share of the references that are expected to be wrong. Default: 0.1.

        Raises:
            Conflict: a run was created by an earlier version, and keeps no answers.
        """
        return self._do(calls.suspects(self._name(run_id), min_probability, limit, runs, prior))

    def set_decisions(
        self, run_id: str | None, decisions: Iterable[Mapping[str, Any]], add: bool = False
    ) -> list[Decided]:
        """Let these be the decisions about the run's references. Runs that name it in `prior_runs` start with them.

        client.set_decisions("gsm8k-seed1", [{"prompt_id": "q7", "decision": "replace", "answer": "42"}])

        Args:
            decisions: for each the fields of `memr_client.schemas.Decision`.
            add: keep the decisions that the run has about other prompts.

        Raises:
            InvalidRequest: a prompt comes twice.
        """
        return self._do(calls.set_decisions(self._name(run_id), decisions, add))

    def decisions(self, run_id: str | None = None) -> list[Decided]:
        """The run's decisions about references."""
        return self._do(calls.decisions(self._name(run_id)))

    def create_checkpoint(self, run_id: str | None, name: str, step: int | None = None) -> Checkpoint:
        """Create a checkpoint of the run's current position. Nothing is copied. One of this name that exists moves."""
        return self._do(calls.create_checkpoint(self._name(run_id), name, step))

    def checkpoints(self, run_id: str | None = None) -> list[Checkpoint]:
        """The run's checkpoints, oldest first."""
        return self._do(calls.checkpoints(self._name(run_id)))

    def delete_checkpoint(self, run_id: str | None, name: str) -> None:
        """Delete a checkpoint. The records before it stay."""
        self._do(calls.delete_checkpoint(self._name(run_id), name))

    def restore(self, run_id: str | None, checkpoint: str) -> RunInfo:
        """Set memories, windows, counters and request ids back to a checkpoint, on a new branch.

        Raises:
            UnknownCheckpoint: the run has no checkpoint of this name.
        """
        return self._do(calls.restore(self._name(run_id), checkpoint))

    def fork(self, run_id: str | None, new_run_id: str, checkpoint: str | None = None) -> RunInfo:
        """Copy the run under a new name.

        Args:
            checkpoint: copy the run as it was at this checkpoint. Default: as it is now.

        Raises:
            Conflict: a run with the new name exists. An earlier try may have made it and its response been lost.
        """
        return self._do(calls.fork(self._name(run_id), new_run_id, checkpoint))

    def audits(self, run_id: str | None = None, at: int | None = None) -> Audits:
        """Signs that the run is collapsing, with remedies: its newest completions compared with its first ones.

        Args:
            at: audit the run as it was at this position. Default: now.
        """
        return self._do(calls.audits(self._name(run_id), at))

    def provenance(self, run_id: str | None = None) -> Provenance:
        """What a paper must cite: the run's config, encoder, library versions and the chain of its records."""
        return self._do(calls.provenance(self._name(run_id)))

    def explain(self, run_id: str | None = None, **asked: Any) -> Explanation:
        """Explain a reward: what was read, the windows, the guards, the sum. Nothing changes.

        client.explain("gsm8k-seed0", prompt="2 + 3?", completion="5", outcome=1.0)  # as it would be scored now
        client.explain("gsm8k-seed0", position=12, item=0)                           # as that item was scored

        Args:
            asked: fields of `memr_client.schemas.Explain`.
        """
        return self._do(calls.explain(self._name(run_id), asked))

    def replay(
        self,
        run_id: str | None = None,
        settings: Sequence[RunConfig | Mapping[str, Any]] = ({},),
        on_progress: Callable[[ReplayProgress], None] | None = None,
    ) -> ReplayResult:
        """Score the run's recorded completions again under other settings, and compare with the recorded rewards.

        client.replay("gsm8k-seed0", [{"k": 1}, {"k": 20}, {"preset": "random"}])

        A replay can take minutes. `timeout` applies to each line of the response.

        Args:
            settings: fields of `RunConfig` to change. Other fields come from `preset` where it is set, otherwise from
                the run's config. The default changes nothing: every recorded reward must come out exactly, and
                `difference` tells where one does not.
            on_progress: called with the progress from time to time.

        Raises:
            InvalidRequest: a field cannot be changed, because the recorded embeddings and outcomes depend on it.
        """
        call = calls.replay(self._name(run_id), settings)
        with self._once(call) as parts, self._pool().stream(**parts) as response:
            if not response.is_success:
                response.read()
                raise error_from(response, self._proxy)
            for line in response.iter_lines():
                read = call.parse(line.encode())
                if read.result is not None:
                    return read.result
                if read.progress is not None and on_progress is not None:
                    on_progress(read.progress)
        raise BadResponse(calls.ENDED_EARLY)

    def completions(self, run_id: str | None = None, **page: Unpack[Page]) -> Completions:
        """One page of the run's completions as they were scored, with the beginnings of their texts.

        client.completions("gsm8k-seed0", sort="reward", right=False, text="sorry")

        Args:
            page: filters, order and page; `memr_client.schemas.Page` documents each. Default: the newest 50.
        """
        return self._do(calls.completions(self._name(run_id), **page))

    def prompts(self, run_id: str | None = None, **page: Unpack[PromptPage]) -> KnownPrompts:
        """One page of the prompts that the run knows or has in its pool, with their pass rates.

        client.prompts("gsm8k-seed0", kind="impossible", sort="visits")

        Args:
            page: filters, order and page; `memr_client.schemas.PromptPage` documents each.

        Raises:
            Conflict: the run was created by an earlier version, and has no pass rates.
        """
        return self._do(calls.prompts(self._name(run_id), **page))

    def prompt(self, run_id: str | None, key: str) -> PromptHistory:
        """What is known of a prompt, and its visits, each with how many completions were right.

        Args:
            key: the prompt's identity, which `prompts` names.

        Raises:
            UnknownPrompt: the run does not know the prompt, and its pool does not have it.
        """
        return self._do(calls.prompt(self._name(run_id), key))

    def forget_prompt(self, run_id: str | None, key: str) -> None:
        """Forget the prompt's pass rate, as if the prompt had never been visited. Its completions stay.

        Args:
            key: the prompt's identity, which `prompts` names.

        Raises:
            UnknownPrompt: the run knows nothing of the prompt.
        """
        self._do(calls.forget_prompt(self._name(run_id), key))

    def pass_rates(self, run_id: str | None = None) -> PassRatesOverSteps:
        """The distribution of the prompts' pass rates at records evenly spaced over the run."""
        return self._do(calls.pass_rates(self._name(run_id)))

    def memory_map(self, run_id: str | None = None, most: int = 1000) -> Map:
        """A sample of both memories, projected on the embeddings' first two principal components.

        Args:
            most: largest number of points.
        """
        return self._do(calls.memory_map(self._name(run_id), most))

    def presets(self) -> dict[str, RunConfig]:
        """The presets by name, with all fields."""
        return self._do(calls.presets())

    def version(self) -> Version:
        """Versions of the service, its encoder and its libraries."""
        return self._do(calls.version())

    def ready(self) -> bool:
        """Whether the service accepts requests now."""
        try:
            self._try(calls.ready(), Tries(PROBE_S, retries=0))
        except MemrError:
            return False
        return True

    def wait(self, seconds: float = 60.0) -> Self:
        """Wait until the service is ready, then return the client itself.

        Raises:
            ServiceUnreachable: the service was not ready within `seconds`.
        """
        tries = Tries(checked_seconds(seconds, "seconds"), math.inf, longest_pause=1.0)
        with self._waiting(tries, seconds):
            self._try(calls.ready(), tries)
        return self

    def _do(self, call: Call[Result]) -> Result:
        if self._wait_s:
            self.wait(self._wait_s)
        return self._try(call, Tries(self.timeout, self.retries))

    def _try(self, call: Call[Result], tries: Tries) -> Result:
        while True:
            try:
                response = self._pool().request(**self._parts(call, tries))
            except httpx.RequestError as error:
                if (pause := tries.pause_after(error)) is None:
                    raise self._unreachable(call, tries, error) from error
                self._say_pause(call, tries, error)
            else:
                if (pause := tries.pause_after(response)) is None:
                    return call.read(response, self._proxy)
                self._say_pause(call, tries, response)
            time.sleep(pause)

    def _pool(self) -> httpx.Client:
        # One pool per process, so that a forked child never uses its parent's sockets.
        pool: httpx.Client | None = self._pools.get(os.getpid())
        return pool or self._pools.setdefault(os.getpid(), self._open())

    def _open(self) -> httpx.Client:
        return httpx.Client(**self._options(), transport=self._transport or httpx.HTTPTransport(**self._route()))
