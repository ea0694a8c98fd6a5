"""The dashboard in a real browser: every view clicked through, and looked at for what shuts people out.

`make browser` runs this. It needs Chromium, which no Python package carries; CHROMIUM names it where it is not found.
With SHOTS=FOLDER it leaves a picture of each view there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from memr_client import RewardClient
from playwright.sync_api import Browser, Page, expect, sync_playwright
from real_data import solutions
from serving import serving

STEPS = 60
KEY = "key-of-a-reader"
expect.set_options(timeout=30_000)


def fill(client: RewardClient, run: str, **config: object) -> None:
    """Steps of two questions each, four models' solutions."""
    client.create_run(run, **{"preset": "memory-r+", "explore_warmup_steps": 5, **config})
    for step in range(STEPS):
        client.reward(**request(step), run_id=run)


def request(step: int) -> dict[str, object]:
    asked = [solutions()[(2 * step + number) % 40] for number in range(2)]
    return {
        "prompts": [one["question"] for one in asked for _ in one["solutions"]],
        "completions": [each["solution"] for one in asked for each in one["solutions"]],
        "outcomes": [float(each["is_correct"]) for one in asked for each in one["solutions"]],
        "step": step,
    }


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as url, RewardClient(url) as client:
        fill(client, "paper")
        fill(
            client, "on-topic", components={"exploit": {"weight": 1.0, "guards": {"topic_floor": 0.2}}, "explore": 0.5}
        )
        client.reward(["2 + 3?"], ["<img src=x onerror=document.title='broken'> 5"], [1], run_id="markup")
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "There is no Chromium here: apt-get install chromium, or set CHROMIUM to one."
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which nothing goes wrong: neither an error nor a line that the browser refused."""
    page = browser.new_page(viewport={"width": 1360, "height": 900}, accept_downloads=True)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda said: wrong.append(said.text) if said.type == "error" and "401" not in said.text else None
    )
    yield page
    page.close()
    assert wrong == []


def look(page: Page, name: str) -> None:
    """Nothing serious that keeps people out; and a picture, where one is asked for."""
    if folder := os.environ.get("SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")
    found = Axe().run(page).response["violations"]
    serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
    assert serious == []


def test_the_list_of_runs_leads_to_a_run_with_all_its_curves(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_role("link", name="paper")).to_be_visible()
    look(page, "overview")
    page.get_by_role("link", name="on-topic").click()
    expect(page.locator("figure canvas").first).to_be_visible()
    titles = page.locator("figcaption > span").all_inner_texts()
    for title in ("Outcome", "Reward", "exploit, raw", "Scaled", "Weight share", "Completions in memory", "Rejected"):
        assert any(one.startswith(title) for one in titles), title
    assert page.locator("figure canvas").count() == len(titles)
    look(page, "run")


def test_curves_go_on_by_themselves(page: Page, url: str) -> None:
    with RewardClient(url, run="growing") as client:
        client.reward(**request(0))
        page.goto(f"{url}/#/run/growing")
        outcome = page.get_by_role("group", name="Outcome over steps")
        expect(outcome).to_be_visible()
        client.reward(**request(1) | {"outcomes": [0.125] * 8})
        expect(outcome).to_have_attribute("aria-label", re.compile("outcome 0.125"))


def test_a_chart_is_saved_as_a_picture_and_as_a_table(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper")
    expect(page.locator("figure canvas").first).to_be_visible()
    with page.expect_download() as table:
        page.get_by_role("button", name="Save Outcome as CSV").click()
    lines = Path(table.value.path()).read_text().splitlines()
    assert lines[0] == "step,outcome"
    assert len(lines) == 1 + STEPS
    with page.expect_download() as picture:
        page.get_by_role("button", name="Save Outcome as PNG").click()
    assert Path(picture.value.path()).read_bytes().startswith(b"\x89PNG")


def test_completions_are_sorted_filtered_turned_over_and_explained(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper")
    page.get_by_role("link", name="Completions").click()
    expect(page.get_by_text(f"1 to 50 of {8 * STEPS}")).to_be_visible()
    look(page, "completions")
    page.get_by_role("button", name="Next page").click()
    expect(page.get_by_text(f"51 to 100 of {8 * STEPS}")).to_be_visible()
    page.get_by_role("button", name="Reward", exact=True).click()
    expect(page.get_by_role("columnheader", name="Reward")).to_have_attribute("aria-sort", "descending")
    expect(page.get_by_role("button", name="Reward", exact=False)).to_be_focused()
    page.get_by_label("Outcome").select_option("wrong")
    page.get_by_label("Step").fill("7")
    page.get_by_role("button", name="Show").click()
    wrong = 8 - int(sum(request(7)["outcomes"]))
    expect(page.get_by_text(f"1 to {wrong} of {wrong}")).to_be_visible()
    page.get_by_role("link", name="Explain item").first.click()
    expect(page.get_by_text("Successes that it read")).to_be_visible()
    look(page, "explain")


def test_a_text_of_ones_own_is_explained(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper/explain")
    page.get_by_label("Prompt").fill("How much is 7 + 5?")
    page.get_by_label("Completion").fill("It is 12.")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_text("The sum")).to_be_visible()
    look(page, "explain-own")


def test_the_map_tells_the_text_under_the_pointer_and_goes_by_keys(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper/map")
    chart = page.locator(".map canvas")
    chart.hover()
    expect(page.get_by_text("Completion:")).to_be_visible()
    page.get_by_label("Colour").select_option("by age (orange: oldest)")
    chart.focus()
    page.keyboard.press("ArrowRight")
    look(page, "map")


def test_audits_say_what_to_do(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper/audits")
    expect(page.get_by_role("columnheader", name="What to do")).to_be_visible()
    look(page, "audits")


def test_runs_are_compared_on_one_chart(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_label("Compare paper").check()
    page.get_by_label("Compare on-topic").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("figure canvas")).to_be_visible()
    page.get_by_label("Measure").select_option("exploit, raw median")
    expect(page.get_by_role("group", name="exploit, raw median")).to_be_visible()
    look(page, "compare")


def test_latency_is_told_hop_by_hop(page: Page, url: str) -> None:
    page.goto(f"{url}/#/latency")
    expect(page.get_by_role("cell", name="commit: the record is durable")).to_be_visible()
    look(page, "latency")


def test_dark_is_remembered(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper")
    page.get_by_role("button", name="Dark").click()
    page.reload()
    expect(page.get_by_role("button", name="Light")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 25, 29)"
    expect(page.locator("figure canvas").first).to_be_visible()
    look(page, "dark")


def test_what_a_completion_holds_is_shown_as_text(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/markup/completions")
    expect(page.get_by_text("<img src=x")).to_be_visible()
    assert page.locator("td img").count() == 0


def test_a_key_is_asked_for_and_kept_for_the_session(browser: Browser, page: Page, tmp_path: Path) -> None:
    entry = {"name": "reader", "scope": "read", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}
    (tmp_path / "keys.json").write_text(json.dumps([entry]))
    with serving("--keys-file", str(tmp_path / "keys.json"), api_key=KEY) as url:
        page.goto(url)
        for key in ("wrong", KEY):
            page.get_by_role("textbox", name="API key").fill(key)
            page.get_by_role("button", name="Use it").click()
        expect(page.get_by_text("No run yet.")).to_be_visible()
        page.reload()
        expect(page.get_by_text("No run yet.")).to_be_visible()
        assert KEY not in page.evaluate("JSON.stringify(localStorage)")
