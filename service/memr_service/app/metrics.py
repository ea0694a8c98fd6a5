"""Prometheus metrics of one app, in their own registry."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import TypeVar

from memr_client.errors import ProblemError
from memr_client.schemas import PromptKinds
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from memr_service.engine.service import RewardEvent, Service
from memr_service.insight.pools import PoolState
from memr_service.insight.service import InsightService

CONTENT_TYPE = CONTENT_TYPE_LATEST

M = TypeVar("M", Counter, Gauge)

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_TEXTS = (1, 4, 16, 64, 256, 1024, 4096, 16384)


class Metrics:
    """Metrics of a server. Series have the label `run` only with `run_label`, because each run adds its own series."""

    def __init__(self, service: Service, insight: InsightService, *, run_label: bool = False) -> None:
        self.registry = registry = CollectorRegistry()
        run = ("run",) if run_label else ()
        self._run_label = run_label
        self._sizes: dict[str, dict[str, int]] = {}
        self._service = service
        self._insight = insight
        ProcessCollector(registry=registry)
        self._requests = Counter("memr_requests", "HTTP requests.", ("route", "status"), registry=registry)
        self._request_seconds = Histogram(
            "memr_request_seconds", "Duration of a request.", ("route",), registry=registry, buckets=_SECONDS
        )
        self._items = Counter("memr_items", "Completions scored.", ("mode", *run), registry=registry)
        self._replays = Counter("memr_idempotent_replays", "Stored responses sent again.", run, registry=registry)
        self._truncated = Counter("memr_truncated_texts", "Texts too long for the encoder.", run, registry=registry)
        self._unjudged = Counter(
            "memr_unjudged_completions", "Completions that a verifier did not judge in time.", registry=registry
        )
        self._batch_texts = Histogram(
            "memr_batch_texts", "Texts encoded per request.", registry=registry, buckets=_TEXTS
        )
        self._phases = {
            phase: Histogram(f"memr_{phase}_seconds", description, registry=registry, buckets=_SECONDS)
            for phase, description in (
                ("encode", "Time a request waited for its embeddings."),
                ("score", "Time to read the memories and compute rewards."),
                ("commit", "Time to make a record durable."),
            )
        }
        self._memory = Gauge(
            "memr_memory_completions", "Completions in memory after each run's last request.", ("memory", *run),
            registry=registry,
        )  # fmt: skip
        queue = Gauge("memr_queue_texts", "Texts waiting for the encoder.", registry=registry)
        queue.set_function(lambda: service.batcher.queued_texts)
        dropped = Gauge("memr_dropped_texts", "Texts that a slow side store dropped.", registry=registry)
        dropped.set_function(lambda: service.texts.dropped)
        self._audits = Gauge("memr_audits_firing", "Audits in state alarm, over open runs.", run, registry=registry)
        self._spread = Gauge(
            "memr_spread_share", "Share of the newest groups whose outcomes differ, over open runs with a pool.", run,
            registry=registry,
        )  # fmt: skip
        self._pool = Gauge(
            "memr_pool_prompts", "Prompts of the pools of open runs, by what is foreseen of their next group.",
            ("kind", *run), registry=registry,
        )  # fmt: skip
        self._store_bytes = Gauge("memr_store_bytes", "Size of the store.", registry=registry)
        waiting = Gauge("memr_barrier_waiting", "Requests waiting at a barrier.", registry=registry)
        waiting.set_function(lambda: service.barriers.state().waiting)
        held = Gauge("memr_barrier_bytes", "Memory of the requests that wait at barriers.", registry=registry)
        held.set_function(lambda: service.barriers.room.bytes)
        self._series_of = lru_cache(maxsize=1024)(
            lambda route, status: (self._requests.labels(route, str(status)), self._request_seconds.labels(route))
        )
        self._totals = _Totals()
        registry.register(self._totals)
        service.observers.append(self.observe)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request."""
        counted, took = self._series_of(route, status)
        counted.inc()
        took.observe(seconds)

    def count_refused(self, status: int, connections: int) -> None:
        """Count connections that were closed for their client's fault."""
        self._requests.labels("unknown", str(status)).inc(connections)

    def count_unjudged(self, completions: int) -> None:
        """Count completions that a verifier did not judge in time."""
        self._unjudged.inc(completions)

    def observe(self, event: RewardEvent) -> None:
        """Count one successful `POST /reward`."""
        run = (event.run_id,) if self._run_label else ()
        if event.response.replayed:
            _series(self._replays, run).inc()
            return
        self._items.labels(event.mode, *run).inc(event.items)
        _series(self._truncated, run).inc(event.truncated)
        timing_ms = event.response.timing_ms
        if event.encoded:
            self._batch_texts.observe(event.encoded)
            self._phases["encode"].observe(timing_ms["encode"] / 1000)
        self._phases["score"].observe(timing_ms["score"] / 1000)
        if event.mode == "train":
            self._phases["commit"].observe(timing_ms["commit"] / 1000)
            self._set_memory(event, run)

    async def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        with suppress(ProblemError):  # the other metrics are available while the store is down
            self._store_bytes.set(await self._service.store_bytes())
        firing = await self._insight.firing()
        if self._run_label:
            self._audits.clear()
            for run_id, count in firing.items():
                self._audits.labels(run_id).set(count)
        else:
            self._audits.set(sum(firing.values()))
        self._set_pools(await self._insight.pools())
        barriers, damaged = self._service.barriers.state(), await self._service.damaged_records()
        shared = self._service.store.shared
        self._totals.values = {
            "timeouts": barriers.timeouts,
            "late": barriers.late,
            "damaged": damaged,
            "conflicts": 0 if shared is None else shared.conflicts,
            "rewinds": self._service.registry.rewinds,
        }
        return generate_latest(self.registry)

    def _set_memory(self, event: RewardEvent, run: tuple[str, ...]) -> None:
        """Set the completions in memory. Without the label, the sum over all runs that this process has served."""
        sizes = event.response.memory
        self._sizes[event.run_id] = {memory: size["completions"] for memory, size in sizes.items()}
        held = [self._sizes[event.run_id]] if run else self._sizes.values()
        for memory in sizes:
            self._memory.labels(memory, *run).set(sum(one[memory] for one in held))

    def _set_pools(self, states: dict[str, PoolState]) -> None:
        """Set what is known of pools. Without the label, over all runs together."""
        by_label = {(run_id,): [one] for run_id, one in states.items()} if self._run_label else {(): [*states.values()]}
        if self._run_label:
            self._spread.clear()
            self._pool.clear()
        for label, pools in by_label.items():
            groups = sum(one.groups for one in pools)
            _series(self._spread, label).set(sum(one.with_spread for one in pools) / groups if groups else math.nan)
            for kind in PromptKinds.model_fields:
                self._pool.labels(kind, *label).set(sum(getattr(one.kinds, kind) for one in pools))


class _Totals(Collector):
    """Counters whose values are read from other objects at each scrape."""

    def __init__(self) -> None:
        self.values = {"timeouts": 0, "late": 0, "damaged": 0, "conflicts": 0, "rewinds": 0}

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The counters with their latest values."""
        for name, metric, description in (
            ("timeouts", "memr_barrier_timeouts", "Steps and groups scored incomplete after a time-out."),
            ("late", "memr_barrier_late", "Requests scored alone because they came after the time-out."),
            ("damaged", "memr_damaged_records", "Damaged records removed from journals."),
            ("conflicts", "memr_commit_conflicts", "Commits repeated because another process committed first."),
            ("rewinds", "memr_history_rewinds", "Runs reloaded because a shared store had lost their records."),
        ):
            yield CounterMetricFamily(metric, description, value=self.values[name])


def _series(metric: M, labels: tuple[str, ...]) -> M:
    """The metric's series for these labels, or the metric itself if there are none."""
    return metric.labels(*labels) if labels else metric
