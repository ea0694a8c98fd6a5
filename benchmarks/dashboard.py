"""How fast is the dashboard with a long run, and how much processor time does its polling take?

    make browser && python -m benchmarks.dashboard [--completions 120000] [--runs 1000] [--quick] [--publish]

Serves a run with that many completions in steps of 64 (embeddings with d = 384) and that many small runs, opens them in
Chromium, and prints the duration of each response that the page uses, the time until curves are drawn, and the duration
of interactions. Then ten steps per second are scored, alternately with and without the open page, and the service's
processor time is printed. With an encoder, the page's share would be smaller. --publish writes
`docs/results/dashboard-speed.json`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from memr_client import RewardClient
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.serving import serving

from benchmarks.published import Row, publish, table

STEP, GROUP, D = 64, 16, 384
TURNS, TURN_S, PACE_S = 6, 15, 0.1
POLLS = 50
SORT = """() => new Promise((done) => {
  const button = document.querySelector("[data-name=reward]"), begun = performance.now();
  const painted = () => requestAnimationFrame(() => done(performance.now() - begun));
  const seen = new MutationObserver(() => (seen.disconnect(), painted()));
  seen.observe(button.closest("[aria-live]"), { childList: true });
  button.click();
})"""
"""Clicks a button, and returns the milliseconds until the new table is painted."""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def request(step: int) -> dict[str, Any]:
    """A step of four groups. Prompts repeat after 500."""
    asked = np.random.default_rng(0).normal(size=(500, D)).astype(np.float32)
    rng = np.random.default_rng([1, step])
    which = np.repeat(rng.integers(500, size=STEP // GROUP), GROUP)
    rows = asked[which] + 1.5 * rng.normal(size=(STEP, D)).astype(np.float32)
    return {
        "prompts": [f"question {one}: " + "how many are left? " * 5 for one in which],
        "completions": [f"answer {step}.{item}: " + "so there are a few less, " * 8 for item in range(STEP)],
        "outcomes": (rng.random(STEP) < 0.3).astype(float),
        "step": step,
        "embeddings": {"prompts": asked[which], "completions": rows},
    }


PAINT_MS, INTERACTION_MS = 1000.0, 100.0
"""What is wanted: the first paint and the first curve, and an interaction."""
SMALL_STEPS = 3
"""Steps of each small run."""


def median_ms(work: Callable[[], object], times: int = 5) -> float:
    """Median duration of some work."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(taken)


def answers(url: str) -> Iterator[tuple[str, float]]:
    """Durations of the responses that the page requests."""
    with httpx.Client(base_url=url, timeout=60) as http:
        last = http.get("/runs/long").json()["position"]
        for path in (
            "",
            "/history?points=300",
            f"/history?points=5&after={last - 50}",
            "/completions?limit=50",
            "/completions?limit=50&sort=reward",
            "/completions?limit=50&text=nobody+wrote+this",
            "/map?most=1200",
            "/audits",
        ):
            address = f"/runs/long{path}"
            yield f"GET {address}", median_ms(lambda address=address: http.get(address).raise_for_status())


def page(browser: Browser, url: str) -> Iterator[tuple[str, float, float]]:
    """Durations that a user of the page notices, and the longest that is wanted."""
    tab = browser.new_page()
    yield from opened(tab, f"{url}/#/run/long", "figure canvas", "page", "until the first curve is drawn")
    plot = tab.locator(".plot").first
    plot.focus()
    yield "page: the cursor moves by a key", median_ms(lambda: plot.press("ArrowRight"), 20), INTERACTION_MS
    tab.get_by_role("button", name="Dark").click()
    yield "page: light again", median_ms(lambda: tab.locator("#theme").click(), 6), INTERACTION_MS
    tab.get_by_role("link", name="Completions").click()
    tab.wait_for_selector("[data-name=reward]")
    yield "page: the table is sorted again", statistics.median(tab.evaluate(SORT) for _ in range(6)), INTERACTION_MS
    tab.close()


def many_runs(browser: Browser, url: str) -> Iterator[tuple[str, float, float]]:
    """Durations that a user of the list of runs notices."""
    tab = browser.new_page()
    yield from opened(tab, f"{url}/", "tbody tr", "list", "until the runs are there")
    tab.close()


def opened(tab: Page, address: str, wanted: str, view: str, until: str) -> Iterator[tuple[str, float, float]]:
    """How long it takes to open a view: until what is wanted of it (a selector) is there, and the first paint."""

    def work() -> None:
        tab.goto("about:blank")
        tab.goto(address, wait_until="commit")
        tab.wait_for_selector(wanted)

    yield f"{view}: {until}", median_ms(work), PAINT_MS
    yield f"{view}: first contentful paint", float(tab.evaluate(PAINT)), PAINT_MS


def under_load(browser: Browser, url: str, client: RewardClient, step: int) -> tuple[float, float]:
    """Processor seconds of the service for the same number of steps, without a page and with one that polls."""
    spent = [0.0, 0.0]
    for turn in range(TURNS):
        tab = browser.new_page() if turn % 2 else None
        if tab is not None:
            tab.goto(f"{url}/#/run/long")
            tab.wait_for_load_state("networkidle")
        begun, due = processor_s(url), time.monotonic()
        for _ in range(round(TURN_S / PACE_S)):
            client.reward(**request(step))
            step += 1
            due += PACE_S
            time.sleep(max(0.0, due - time.monotonic()))
        spent[turn % 2] += processor_s(url) - begun
        if tab is not None:
            tab.close()
    return spent[0], spent[1]


def poll_s(url: str) -> float:
    """Processor seconds of the service for one poll of an open page: the run's description and fifty new steps."""
    with httpx.Client(base_url=url) as http:
        begun = processor_s(url)
        for _ in range(POLLS):
            position = http.get("/runs/long").json()["position"]
            http.get(f"/runs/long/history?points=5&after={position - 50}").raise_for_status()
        return (processor_s(url) - begun) / POLLS


def processor_s(url: str) -> float:
    """Processor time of the service since its start."""
    told = httpx.get(f"{url}/metrics").text.splitlines()
    return float(next(line for line in told if line.startswith("process_cpu_seconds_total")).split()[1])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--completions", type=int, default=120_000)
    arguments.add_argument("--runs", type=int, default=1000, help="small runs beside the long one")
    arguments.add_argument("--quick", action="store_true", help="a tenth of them")
    arguments.add_argument("--publish", action="store_true", help="write docs/results/dashboard-speed.json")
    given, begun, rows = arguments.parse_args(), time.perf_counter(), list[Row]()
    completions, runs = (count // (10 if given.quick else 1) for count in (given.completions, given.runs))

    def tell(what: str, value: float, unit: str, wanted: float | None = None) -> None:
        rows.append({"what": what, "value": value, "unit": unit, "wanted": wanted})
        print(f"{what:64} {value:8.2f} {unit}" + ("" if wanted is None else f" (wanted: at most {wanted:g})"))

    with (
        tempfile.TemporaryDirectory() as folder,
        serving("--store", f"sqlite:///{folder}") as url,
        RewardClient(url, run="long") as client,
    ):
        client.create_run(preset="memory-r+")
        for step in range(completions // STEP):
            client.reward(**request(step))
        for what, taken in answers(url):
            tell(what, taken, "ms")
        tell("one poll of an open page, every 5 s: processor time", 1e3 * poll_s(url), "ms")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            for what, taken, wanted in page(browser, url):
                tell(what, taken, "ms", wanted)
            without, polled = under_load(browser, url, client, completions // STEP)
            tell("ten steps a second: processor time of the service", without, "s")
            share = (polled - without) / (TURNS // 2 * TURN_S)
            tell("ten steps a second with an open page: more of one core", 100 * share, "%")
            for number in range(runs):
                with RewardClient(url, run=f"small-{number}") as small:
                    for step in range(SMALL_STEPS):
                        small.reward(["q"] * 4, [f"{step} {item}" for item in range(4)], [0, 1, 0, 1], step=step)
            with httpx.Client(base_url=url, timeout=60) as http:
                taken = median_ms(lambda: http.get("/runs?recent=true").raise_for_status())
            tell(f"GET /runs?recent=true of {runs + 1:,} runs", taken, "ms")
            for what, taken, wanted in many_runs(browser, url):
                tell(what, taken, "ms", wanted)
    if given.publish:
        cells = {"": "{what}", "measured": "{value:.3g} {unit}", "wanted, at most": "{wanted:g} {unit}"}
        title = f"The dashboard with a run of {completions:,} completions, and with {runs + 1:,} runs"
        publish(
            "dashboard-speed",
            command="python -m benchmarks.dashboard",
            seconds=time.perf_counter() - begun,
            quick=given.quick,
            **table(title, cells, rows),
        )


def chromium() -> str:
    """The path of Chromium."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "Chromium was not found: run apt-get install chromium, or set CHROMIUM to its path."
    return found


if __name__ == "__main__":
    main()
