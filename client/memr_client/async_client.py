"""`AsyncRewardClient`: every call of the service, for asyncio."""

from __future__ import annotations

import asyncio
import math
import os
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

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


class AsyncRewardClient(BaseClient[httpx.AsyncBaseTransport]):
    """`RewardClient` for asyncio: the same arguments, calls and errors.

    async with AsyncRewardClient("http://127.0.0.1:8000", run="gsm8k-seed0") as client:
        response = await client.reward(prompts, completions, outcomes, step=12)

    One client can be used from several event loops. Each loop has its own connections, which close when the loop ends.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close this loop's connections and stop an embedded service. A later call over HTTP opens new connections."""
        opened, _ = self._pools.pop(asyncio.get_running_loop(), (None, None))
        if opened is not None:
            await opened.aclose()
        if self._transport is not None:
            await self._transport.aclose()

    async def reward(
        self, prompts: Texts, completions: Texts, outcomes: Sequence[float] | Array, **columns: Unpack[Columns]
    ) -> RewardResponse:
        """Like `RewardClient.reward`."""
        run_id = columns["run_id"] = self._name(columns.get("run_id"))
        response = await self._do(calls.reward(prompts, completions, outcomes, **columns))
        if columns.get("mode") != "eval" and self._says_nothing(columns.get("step"), outcomes, response):
            with suppress(MemrError):
                warnings.warn(self._why((await self.run(run_id)).config, response), stacklevel=2)
        return response

    async def create_run(self, run_id: str | None = None, config: Config = None, **fields: Any) -> RunInfo:
        """Like `RewardClient.create_run`."""
        return self._with_warnings_logged(await self._do(calls.create_run(self._name(run_id), config, **fields)))

    async def run(self, run_id: str | None = None, digest: bool = False) -> RunInfo:
        """Like `RewardClient.run`."""
        return await self._do(calls.run(self._name(run_id), digest))

    async def runs(self) -> list[RunInfo]:
        """Like `RewardClient.runs`."""
        return await self._do(calls.runs())

    async def delete_run(self, run_id: str) -> None:
        """Like `RewardClient.delete_run`."""
        await self._do(calls.delete_run(run_id))

    async def export_run(self, run_id: str, path: str | os.PathLike[str]) -> None:
        """Like `RewardClient.export_run`."""
        call = calls.export_run(run_id)
        pool = await self._pool()
        with self._once(call) as parts, complete_file(path) as file:
            async with pool.stream(**parts) as response:
                if not response.is_success:
                    await response.aread()
                    raise error_from(response, self._proxy)
                async for chunk in response.aiter_bytes(CHUNK_BYTES):
                    await asyncio.to_thread(file.write, chunk)

    async def import_run(self, run_id: str, path: str | os.PathLike[str]) -> RunInfo:
        """Like `RewardClient.import_run`."""
        pool = await self._pool()
        with open(path, "rb") as file:
            call = calls.import_run(run_id, _chunks(file))
            with self._once(call) as parts:
                return call.read(await pool.request(**parts))

    async def history(self, run_id: str | None = None, after: int = 0, limit: int = 1000) -> list[HistoryRow]:
        """Like `RewardClient.history`."""
        return await self._do(calls.history(self._name(run_id), after, limit))

    async def calibrate(self, run_id: str | None = None) -> Calibration:
        """Like `RewardClient.calibrate`."""
        return await self._do(calls.calibrate(self._name(run_id)))

    async def set_pool(self, run_id: str | None, prompt_ids: Any, prompts: Any = None) -> PoolInfo:
        """Like `RewardClient.set_pool`."""
        name = self._name(run_id)
        return [await self._do(call) for call in calls.set_pool(name, prompt_ids, prompts)][-1]

    async def pool(self, run_id: str | None = None) -> PoolInfo:
        """Like `RewardClient.pool`."""
        return await self._do(calls.pool(self._name(run_id)))

    async def delete_pool(self, run_id: str | None = None) -> None:
        """Like `RewardClient.delete_pool`."""
        await self._do(calls.delete_pool(self._name(run_id)))

    async def plan(self, run_id: str | None, n: int, group_size: int, **fields: Any) -> Plan:
        """Like `RewardClient.plan`."""
        return await self._do(calls.plan(self._name(run_id), {"n": n, "group_size": group_size, **fields}))

    async def add_prior(
        self, run_id: str | None, right: Any, n: Any, *, prompt_ids: Any = None, prompts: Any = None
    ) -> None:
        """Like `RewardClient.add_prior`."""
        await self._do(calls.add_prior(self._name(run_id), right, n, prompt_ids, prompts))

    async def backtest(self, run_id: str | None = None) -> Backtest:
        """Like `RewardClient.backtest`."""
        return await self._do(calls.backtest(self._name(run_id)))

    async def suspects(
        self,
        run_id: str | None = None,
        min_probability: float = 0.5,
        limit: int = 200,
        runs: Sequence[str] = (),
        prior: float | None = None,
    ) -> Suspects:
        """Like `RewardClient.suspects`."""
        return await self._do(calls.suspects(self._name(run_id), min_probability, limit, runs, prior))

    async def set_decisions(
        self, run_id: str | None, decisions: Iterable[Mapping[str, Any]], add: bool = False
    ) -> list[Decided]:
        """Like `RewardClient.set_decisions`."""
        return await self._do(calls.set_decisions(self._name(run_id), decisions, add))

    async def decisions(self, run_id: str | None = None) -> list[Decided]:
        """Like `RewardClient.decisions`."""
        return await self._do(calls.decisions(self._name(run_id)))

    async def create_checkpoint(self, run_id: str | None, name: str, step: int | None = None) -> Checkpoint:
        """Like `RewardClient.create_checkpoint`."""
        return await self._do(calls.create_checkpoint(self._name(run_id), name, step))

    async def checkpoints(self, run_id: str | None = None) -> list[Checkpoint]:
        """Like `RewardClient.checkpoints`."""
        return await self._do(calls.checkpoints(self._name(run_id)))

    async def delete_checkpoint(self, run_id: str | None, name: str) -> None:
        """Like `RewardClient.delete_checkpoint`."""
        await self._do(calls.delete_checkpoint(self._name(run_id), name))

    async def restore(self, run_id: str | None, checkpoint: str) -> RunInfo:
        """Like `RewardClient.restore`."""
        return await self._do(calls.restore(self._name(run_id), checkpoint))

    async def fork(self, run_id: str | None, new_run_id: str, checkpoint: str | None = None) -> RunInfo:
        """Like `RewardClient.fork`."""
        return await self._do(calls.fork(self._name(run_id), new_run_id, checkpoint))

    async def audits(self, run_id: str | None = None, at: int | None = None) -> Audits:
        """Like `RewardClient.audits`."""
        return await self._do(calls.audits(self._name(run_id), at))

    async def provenance(self, run_id: str | None = None) -> Provenance:
        """Like `RewardClient.provenance`."""
        return await self._do(calls.provenance(self._name(run_id)))

    async def explain(self, run_id: str | None = None, **asked: Any) -> Explanation:
        """Like `RewardClient.explain`."""
        return await self._do(calls.explain(self._name(run_id), asked))

    async def replay(
        self,
        run_id: str | None = None,
        settings: Sequence[RunConfig | Mapping[str, Any]] = ({},),
        on_progress: Callable[[ReplayProgress], None] | None = None,
    ) -> ReplayResult:
        """Like `RewardClient.replay`."""
        call = calls.replay(self._name(run_id), settings)
        pool = await self._pool()
        with self._once(call) as parts:
            async with pool.stream(**parts) as response:
                if not response.is_success:
                    await response.aread()
                    raise error_from(response, self._proxy)
                async for line in response.aiter_lines():
                    read = call.parse(line.encode())
                    if read.result is not None:
                        return read.result
                    if read.progress is not None and on_progress is not None:
                        on_progress(read.progress)
        raise BadResponse(calls.ENDED_EARLY)

    async def completions(self, run_id: str | None = None, **page: Unpack[Page]) -> Completions:
        """Like `RewardClient.completions`."""
        return await self._do(calls.completions(self._name(run_id), **page))

    async def prompts(self, run_id: str | None = None, **page: Unpack[PromptPage]) -> KnownPrompts:
        """Like `RewardClient.prompts`."""
        return await self._do(calls.prompts(self._name(run_id), **page))

    async def prompt(self, run_id: str | None, key: str) -> PromptHistory:
        """Like `RewardClient.prompt`."""
        return await self._do(calls.prompt(self._name(run_id), key))

    async def forget_prompt(self, run_id: str | None, key: str) -> None:
        """Like `RewardClient.forget_prompt`."""
        await self._do(calls.forget_prompt(self._name(run_id), key))

    async def pass_rates(self, run_id: str | None = None) -> PassRatesOverSteps:
        """Like `RewardClient.pass_rates`."""
        return await self._do(calls.pass_rates(self._name(run_id)))

    async def memory_map(self, run_id: str | None = None, most: int = 1000) -> Map:
        """Like `RewardClient.memory_map`."""
        return await self._do(calls.memory_map(self._name(run_id), most))

    async def presets(self) -> dict[str, RunConfig]:
        """Like `RewardClient.presets`."""
        return await self._do(calls.presets())

    async def version(self) -> Version:
        """Like `RewardClient.version`."""
        return await self._do(calls.version())

    async def ready(self) -> bool:
        """Like `RewardClient.ready`."""
        try:
            await self._try(calls.ready(), Tries(PROBE_S, retries=0))
        except MemrError:
            return False
        return True

    async def wait(self, seconds: float = 60.0) -> Self:
        """Like `RewardClient.wait`."""
        tries = Tries(checked_seconds(seconds, "seconds"), math.inf, longest_pause=1.0)
        with self._waiting(tries, seconds):
            await self._try(calls.ready(), tries)
        return self

    async def _do(self, call: Call[Result]) -> Result:
        if self._wait_s:
            await self.wait(self._wait_s)
        return await self._try(call, Tries(self.timeout, self.retries))

    async def _try(self, call: Call[Result], tries: Tries) -> Result:
        pool = await self._pool()
        while True:
            try:
                response = await pool.request(**self._parts(call, tries))
            except httpx.RequestError as error:
                if (pause := tries.pause_after(error)) is None:
                    raise self._unreachable(call, tries, error) from error
                self._say_pause(call, tries, error)
            else:
                if (pause := tries.pause_after(response)) is None:
                    return call.read(response, self._proxy)
                self._say_pause(call, tries, response)
            await asyncio.sleep(pause)

    async def _pool(self) -> httpx.AsyncClient:
        """The running loop's connection pool."""
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            for ended in [known for known in list(self._pools) if known.is_closed()]:
                self._pools.pop(ended, None)
            opened = self._open()
            self._pools[loop] = opened, await anext(opened)
        pool: httpx.AsyncClient = self._pools[loop][1]
        return pool

    async def _open(self) -> AsyncGenerator[httpx.AsyncClient, None]:
        # A generator, because asyncio closes open generators when a loop ends. So no connection outlives its loop.
        transport = self._transport or httpx.AsyncHTTPTransport(**self._route())
        pool = httpx.AsyncClient(**self._options(), transport=transport)
        try:
            yield pool
        finally:
            if self._transport is None:  # a given transport serves all loops and closes with the client
                await pool.aclose()


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield chunk
