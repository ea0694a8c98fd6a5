"""How quick is the dashboard with a long run, and what does its polling cost?

    make browser && python benchmarks/dashboard.py [--completions 120000] [--quick]

Serves a run of that many completions in steps of 64 (sent embeddings, d = 384), opens it in Chromium, and prints how
long the service takes for each answer that the page is made of, how long the page takes until its curves are drawn and
for interactions, and what share of a processor the service spends on one page that polls.
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

import httpx
import numpy as np
from memr_client import RewardClient

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from serving import serving

STEP, GROUP, D = 64, 16, 384
POLLED_S = 30


def fill(client: RewardClient, completions: int) -> None:
    """Steps of four groups; prompts come again after 500."""
    client.create_run(preset="memory-r+")
    rng = np.random.default_rng(0)
    asked = rng.normal(size=(500, D)).astype(np.float32)
    for step in range(completions // STEP):
        which = np.repeat(rng.integers(500, size=STEP // GROUP), GROUP)
        rows = asked[which] + 1.5 * rng.normal(size=(STEP, D)).astype(np.float32)
        client.reward(
            [f"question {one}: " + "how many are left? " * 5 for one in which],
            [f"answer {step}.{item}: " + "so there are a few less, " * 8 for item in range(STEP)],
            (rng.random(STEP) < 0.3).astype(float),
            step=step,
            embeddings={"prompts": asked[which], "completions": rows},
        )


def median_ms(work: Callable[[], object], times: int = 5) -> float:
    """Median time of a piece of work."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(taken)


def answers(url: str) -> Iterator[tuple[str, float]]:
    """What the page asks for."""
    with httpx.Client(base_url=url, timeout=60) as http:
        last = http.get("/runs/long").json()["position"]
        for path in (
            "",
            "/history?points=300",
            f"/history?points=300&after={last - 4}",
            "/completions?limit=50",
            "/completions?limit=50&sort=reward",
            "/map?most=2000",
            "/audits",
        ):
            address = f"/runs/long{path}"
            yield f"GET {address}", median_ms(lambda address=address: http.get(address).raise_for_status())


def page(url: str) -> Iterator[tuple[str, float]]:
    """What somebody waits for who looks at it."""
    from playwright.sync_api import sync_playwright

    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert found, "There is no Chromium here: apt-get install chromium, or set CHROMIUM to one."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = browser.new_page()

        def opened() -> None:
            tab.goto("about:blank")
            tab.goto(f"{url}/#/run/long", wait_until="commit")
            tab.wait_for_selector("figure canvas")

        yield "page: until the first curve is drawn", median_ms(opened)
        paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        yield "page: first contentful paint", float(tab.evaluate(paint))
        plot = tab.locator(".plot").first
        plot.focus()
        yield "page: the cursor moves by a key", median_ms(lambda: plot.press("ArrowRight"), 20)
        tab.get_by_role("button", name="Dark").click()
        yield "page: light again", median_ms(lambda: tab.locator("#theme").click(), 6)
        browser.close()


def polling(url: str) -> float:
    """Share of a processor that the service spends on one page that polls: one call for the run, one for its news."""

    def spent() -> float:
        told = httpx.get(f"{url}/metrics").text.splitlines()
        return float(next(line for line in told if line.startswith("process_cpu_seconds_total")).split()[1])

    httpx.get(f"{url}/metrics")
    with httpx.Client(base_url=url) as http:
        begun = spent()
        for _ in range(POLLED_S // 3):
            position = http.get("/runs/long").json()["position"]
            http.get(f"/runs/long/history?points=300&after={position - 1}").raise_for_status()
        return (spent() - begun) / POLLED_S


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--completions", type=int, default=120_000)
    arguments.add_argument("--quick", action="store_true", help="a tenth of them")
    given = arguments.parse_args()
    completions = given.completions // (10 if given.quick else 1)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving("--store", f"sqlite:///{folder}") as url,
        RewardClient(url, run="long") as client,
    ):
        fill(client, completions)
        print(f"{completions:,} completions in {completions // STEP:,} steps")
        for what, taken in (*answers(url), *page(url)):
            print(f"{what:48} {taken:8.0f} ms")
        print(f"{'polling, of a processor':48} {100 * polling(url):8.2f} %")


if __name__ == "__main__":
    main()
