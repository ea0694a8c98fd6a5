"""Readiness: correct, and cheap for many probes."""

import asyncio

from memr_service.app import readiness
from memr_service.app.lifecycle import Lifecycle
from memr_service.app.readiness import Readiness


class Checked:
    """A service that counts how often it was checked."""

    def __init__(self, failing=None, hang=False):
        self.checks, self.failing, self.hang = 0, failing or {}, hang

    async def ready(self):
        self.checks += 1
        if self.hang:
            await asyncio.Event().wait()
        return self.failing


def serving():
    lifecycle = Lifecycle()
    lifecycle.open()
    return lifecycle


def test_many_probes_cost_one_check():
    service = Checked()

    async def probe():
        ready = Readiness(service, serving())
        return await asyncio.gather(*(ready.failing() for _ in range(100)))

    assert asyncio.run(probe()) == [{}] * 100
    assert service.checks == 1


def test_a_check_is_repeated_once_it_is_stale(monkeypatch):
    monkeypatch.setattr(readiness, "FRESH_S", 0.0)
    service = Checked({"store": "full"})

    async def probe():
        ready = Readiness(service, serving())
        first = await ready.failing()
        service.failing = {}
        return first, await ready.failing()

    assert asyncio.run(probe()) == ({"store": "full"}, {})


def test_a_store_that_does_not_respond_is_not_ready(monkeypatch):
    monkeypatch.setattr(readiness, "PATIENCE_S", 0.01)
    failing = asyncio.run(Readiness(Checked(hang=True), serving()).failing())
    assert failing == {"store": "no response within 0.01 s"}


def test_the_store_is_not_asked_while_the_server_starts_or_drains():
    service, lifecycle = Checked(), Lifecycle()
    assert asyncio.run(Readiness(service, lifecycle).failing()) == {"server": "starting"}
    lifecycle.open()
    lifecycle.drain()
    assert asyncio.run(Readiness(service, lifecycle).failing()) == {"server": "draining"}
    assert service.checks == 0


def test_a_check_that_takes_long_does_not_delay_a_probe_until_it_counts_as_a_failure(monkeypatch):
    monkeypatch.setattr(readiness, "FRESH_S", 0.0)
    monkeypatch.setattr(readiness, "SOON_S", 0.01)
    monkeypatch.setattr(readiness, "PATIENCE_S", 0.3)
    service = Checked()

    async def probe():
        ready = Readiness(service, serving())
        assert await ready.failing() == {}
        service.hang = True
        known = await ready.failing()
        while not ready._failing:
            await asyncio.sleep(0.01)
        service.hang = False
        return known, ready._failing, await ready.failing()

    late = {"store": "no response within 0.3 s"}
    assert asyncio.run(probe()) == ({}, late, {})
