"""`RewardClient`."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from memr_client import calls
from memr_client.base import CHUNK_BYTES, PROBE_S, BaseClient, complete_file
from memr_client.calls import Answer, Call
from memr_client.columns import Array, Columns, Texts
from memr_client.errors import BadAnswer, MemrError
from memr_client.schemas import (
    Audits,
    Calibration,
    Checkpoint,
    Completions,
    Explanation,
    HistoryRow,
    Map,
    Page,
    Provenance,
    ReplayProgress,
    ReplayResult,
    RewardResponse,
    RunConfig,
    RunInfo,
    Version,
)
from memr_client.tries import Tries

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class RewardClient(BaseClient[httpx.BaseTransport]):
    """Rewards from a memr service, for any trainer.

    client = RewardClient("http://127.0.0.1:8000", run="gsm8k-seed0")   # `memr serve` started it
    client = RewardClient(..., wait=120)                                # it may still be starting
    client = RewardClient.embedded(run="gsm8k-seed0")                   # no server at all
    answer = client.reward(prompts, completions, outcomes, step=12)
    answer.rewards                                                      # n floats; or an error, never made-up zeros

    Calls may come from several threads. Copies in other processes, forked or pickled, open connections of their own.
    A call whose connection breaks, or that is answered 429, 502, 503 or 504, is sent again with the same request id,
    which counts once however often it arrives.

    Args:
        url: where the service listens.
        run: the run of calls that name none.
        api_key: where the service asks for one; `MEMR_API_KEY` if not given. Pickled copies carry it.
        timeout: seconds a call may take in all, pauses and further tries included.
        retries: how many more times a call is tried; the pauses between 8 tries add up to about 40 s.
        wait: seconds the first call waits for a service that is still starting.
        transport: an httpx transport that carries the requests instead of sockets.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; an embedded service ends. A later call over HTTP opens new ones."""
        if (pool := self._pools.pop(os.getpid(), None)) is not None:
            pool.close()
        if self._transport is not None:
            self._transport.close()

    def reward(
        self, prompts: Texts, completions: Texts, outcomes: Sequence[float] | Array, **columns: Unpack[Columns]
    ) -> RewardResponse:
        """The rewards of n completions, which the run remembers.

        Args:
            prompts: the question of each completion (n): strings or chat messages.
            completions: what the policy wrote (n): strings or chat messages.
            outcomes: the verifier's reward for each (n); True and False count as 1 and 0.
            columns: `run_id`, `step`, `part`, `parts`, `prompt_ids`, `group_ids`, `index`, `answers`, `labels`,
                `truncated`, `request_id`, `mode` ("train"; "eval" changes nothing), `embeddings` ({"prompts": (n, d),
                "completions": (n, d)}); `RewardRequest` explains each. Lists and arrays of any library.

        Raises:
            InvalidRequest: a column does not fit.
            ServiceUnreachable, BadAnswer, ProblemError: there is no answer, and none is made up.
        """
        columns["run_id"] = self._name(columns.get("run_id"))
        return self._do(calls.reward(prompts, completions, outcomes, **columns))

    def create_run(self, run_id: str | None = None, config: RunConfig | None = None, **fields: Any) -> RunInfo:
        """Create a run, or find it with the same config; `fields` are `RunConfig`'s and go before `config`'s.

        Raises:
            Conflict: it exists with another config.
        """
        return self._do(calls.create_run(self._name(run_id), config, **fields))

    def run(self, run_id: str | None = None, digest: bool = False) -> RunInfo:
        """A run's config, sizes and position; with `digest` also the SHA-256 over its whole state."""
        return self._do(calls.run(self._name(run_id), digest))

    def runs(self) -> list[RunInfo]:
        """All runs this key may see."""
        return self._do(calls.runs())

    def delete_run(self, run_id: str) -> None:
        """Remove a run with everything it has.

        Raises:
            UnknownRun: there is none; or an earlier try removed it and its answer was lost.
        """
        self._do(calls.delete_run(run_id))

    def export_run(self, run_id: str, path: str | os.PathLike[str]) -> None:
        """Write the whole run to a file, which appears under its name only when it is complete."""
        call = calls.export_run(run_id)
        with self._once(call) as parts, self._pool().stream(**parts) as response, complete_file(path) as file:
            if not response.is_success:
                response.read()
                raise calls.refusal(response)
            for chunk in response.iter_bytes(CHUNK_BYTES):
                file.write(chunk)

    def import_run(self, run_id: str, path: str | os.PathLike[str]) -> RunInfo:
        """Create a run from a file that `export_run` wrote.

        Raises:
            Conflict: the name is taken.
        """
        with open(path, "rb") as file:
            call = calls.import_run(run_id, iter(partial(file.read, CHUNK_BYTES), b""))
            with self._once(call) as parts:
                return call.read(self._pool().request(**parts))

    def history(self, run_id: str | None = None, after: int = 0, limit: int = 1000) -> list[HistoryRow]:
        """The run's steps as statistics, from the record after position `after` on (a row's `position` goes on)."""
        return self._do(calls.history(self._name(run_id), after, limit))

    def calibrate(self, run_id: str | None = None) -> Calibration:
        """Limits for the run's guards from its own quantiles; `config` is ready for `create_run` of another run.

        client.create_run("gsm8k-seed1", **client.calibrate("gsm8k-seed0").config)

        Raises:
            Conflict: the run has too few right completions yet, or an official preset.
        """
        return self._do(calls.calibrate(self._name(run_id)))

    def create_checkpoint(self, run_id: str | None, name: str, step: int | None = None) -> Checkpoint:
        """Name the run's present position (instant, nothing is copied); a name that exists moves."""
        return self._do(calls.create_checkpoint(self._name(run_id), name, step))

    def checkpoints(self, run_id: str | None = None) -> list[Checkpoint]:
        """The run's checkpoints, the oldest first."""
        return self._do(calls.checkpoints(self._name(run_id)))

    def delete_checkpoint(self, run_id: str | None, name: str) -> None:
        """Remove a checkpoint; the history it named stays."""
        self._do(calls.delete_checkpoint(self._name(run_id), name))

    def restore(self, run_id: str | None, checkpoint: str) -> RunInfo:
        """Bring memories, windows, counters and request ids back to a checkpoint, on a new branch.

        Raises:
            UnknownCheckpoint: the run has none of that name.
        """
        return self._do(calls.restore(self._name(run_id), checkpoint))

    def fork(self, run_id: str | None, new_run_id: str, checkpoint: str | None = None) -> RunInfo:
        """Copy the run under another name, as it was at a checkpoint or as it is.

        Raises:
            Conflict: the name is taken; or an earlier try made the copy and its answer was lost.
        """
        return self._do(calls.fork(self._name(run_id), new_run_id, checkpoint))

    def audits(self, run_id: str | None = None, at: int | None = None) -> Audits:
        """Whether the run is collapsing: figures of its newest completions beside its first ones, and what to do.

        Args:
            at: as of this position instead of now.
        """
        return self._do(calls.audits(self._name(run_id), at))

    def provenance(self, run_id: str | None = None) -> Provenance:
        """What a paper must cite of the run: config, encoder, versions, and the hash its history ends in."""
        return self._do(calls.provenance(self._name(run_id)))

    def explain(self, run_id: str | None = None, **asked: Any) -> Explanation:
        """How a reward comes about: what was read, the windows, the guards, the sum. Nothing is changed.

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
        """What the run's completions would have been paid under other settings, beside what they were paid.

        client.replay("gsm8k-seed0", [{"k": 1}, {"k": 20}, {"preset": "random"}])

        Args:
            settings: fields of `RunConfig` on top of the preset's where one is named, else of the run's own. The
                default changes nothing, so that every reward must come out again exactly: see `difference`.
            on_progress: told how far it is. It may take minutes; `timeout` is then for each line of the answer.

        Raises:
            InvalidRequest: a field cannot be changed after the fact (embeddings and outcomes are as recorded).
        """
        call = calls.replay(self._name(run_id), settings)
        with self._once(call) as parts, self._pool().stream(**parts) as response:
            if not response.is_success:
                response.read()
                raise calls.refusal(response)
            for line in response.iter_lines():
                read = call.parse(line.encode())
                if read.result is not None:
                    return read.result
                if read.progress is not None and on_progress is not None:
                    on_progress(read.progress)
        raise BadAnswer(calls.ENDED_EARLY)

    def completions(self, run_id: str | None = None, **page: Unpack[Page]) -> Completions:
        """A page of the run's completions as they were scored, with the beginnings of their texts.

        client.completions("gsm8k-seed0", sort="reward", right=False, text="sorry")

        Args:
            page: which, and in what order; `memr_client.schemas.Page` explains each. Default: the newest 50.
        """
        return self._do(calls.completions(self._name(run_id), **page))

    def memory_map(self, run_id: str | None = None, most: int = 1000) -> Map:
        """A sample of both memories on the plane in which its embeddings differ most, at most so many points."""
        return self._do(calls.memory_map(self._name(run_id), most))

    def presets(self) -> dict[str, RunConfig]:
        """The presets, every field spelled out."""
        return self._do(calls.presets())

    def version(self) -> Version:
        """What the service is made of."""
        return self._do(calls.version())

    def ready(self) -> bool:
        """Whether the service would take a request now."""
        try:
            self._try(calls.ready(), Tries(PROBE_S, retries=0))
        except MemrError:
            return False
        return True

    def wait(self, seconds: float = 60.0) -> Self:
        """Return (the client itself) once the service is ready.

        Raises:
            ServiceUnreachable: it was not within `seconds`.
        """
        tries = Tries(seconds, math.inf, longest_pause=1.0)
        with self._waiting(tries, seconds):
            self._try(calls.ready(), tries)
        return self

    def _do(self, call: Call[Answer]) -> Answer:
        if self._wait_s:
            self.wait(self._wait_s)
        return self._try(call, Tries(self.timeout, self.retries))

    def _try(self, call: Call[Answer], tries: Tries) -> Answer:
        while True:
            try:
                response = self._pool().request(**self._parts(call, tries))
            except httpx.RequestError as error:
                if (pause := tries.pause_after(error)) is None:
                    raise self._unreachable(call, tries, error) from error
            else:
                if (pause := tries.pause_after(response)) is None:
                    return call.read(response)
            time.sleep(pause)

    def _pool(self) -> httpx.Client:
        # One per process: a forked child finds none under its own id, and never touches its parent's sockets.
        pool: httpx.Client | None = self._pools.get(os.getpid())
        return pool or self._pools.setdefault(os.getpid(), httpx.Client(**self._options()))
