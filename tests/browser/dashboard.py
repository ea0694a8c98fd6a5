"""The dashboard in a real browser: every view is used, and checked for accessibility.

`make browser` runs this. It needs Chromium, which no Python package has; set CHROMIUM to its path if it is not found.
With SHOTS=FOLDER it writes a picture of each view.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from memr_client import RewardClient
from memr_client.errors import UnknownRun
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from support.real_data import solutions
from support.serving import free_port, serving

STEPS = 60
KEY = "key-of-a-reader"
SCREENS = ((420, "dark"), (1366, "dark"), (420, "light"), (1366, "light"))
"""Width and theme of the screens on which each view is looked at."""
CHECKED = ((420, "dark"), (1366, "light"))
"""Those on which its accessibility is checked, which takes seconds: each width and each theme once."""
LONG = "a-run-of-an-experiment-with-a-name-" * 3 + "of_many_letters"
expect.set_options(timeout=30_000)


def fill(client: RewardClient, run: str, **config: object) -> None:
    """Send steps of two questions each, with four models' solutions."""
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
    with serving(MEMR_AUDITS='{"window": 160, "least": 64}') as url, RewardClient(url) as client:
        fill(client, "paper")
        fill(
            client,
            "on-topic",
            components={"exploit": {"weight": 1.0, "guards": {"topic_floor": 0.2}}, "explore": 0.5},
            max_prompts=15,
            memory={"merge_similarity": 0.95},
        )
        for step in range(40):
            late = {"completions": ["No idea."] * 8} if step >= 20 else {}
            client.reward(**request(step) | late, run_id="collapsed")
        fill(client, "pooled", group_size=4)
        client.set_pool("pooled", [f"q{number}" for number in range(60)], [one["question"] for one in solutions()[:60]])
        for run in ("judged", "judged-too"):
            client.create_run(run, preset="memory-r+", extract="numeric")
            for prompt, reference in (("2 + 3?", "9"), ("1 + 1?", "2"), ("4 + 4?", "8")):
                answer = {"2 + 3?": "5"}.get(prompt, reference)
                texts = [f"It is {answer}."] * 3 + ["It is 70."]
                right = [float(answer == reference)] * 3 + [0.0]
                client.reward([prompt] * 4, texts, right, run_id=run, references=[reference] * 4)
        for step in range(3):
            client.reward(["2 + 3?"] * 2, ["four", "six"], [0, 0], run_id="failing", step=step)
        client.create_run("twice", preset="memory-r+", memory={"merge_similarity": 0.95})
        client.reward(
            ["2 + 3?"] * 5,
            ["five", *["It is 5, for 2 + 3 = 5."] * 2, "Five it is.", "6"],
            [1, 1, 1, 1, 0],
            run_id="twice",
        )
        client.reward(["2 + 3?"], ["<img src=x onerror=document.title='broken'> 5"], [1], run_id="markup")
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "Chromium was not found: run apt-get install chromium, or set CHROMIUM to its path."
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page; the test fails if the browser reports an error."""
    page = browser.new_page(viewport={"width": SCREENS[-1][0], "height": 900}, accept_downloads=True)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    expected = re.compile("401|ERR_CONNECTION_REFUSED")
    page.on(
        "console",
        lambda said: wrong.append(said.text) if said.type == "error" and not expected.search(said.text) else None,
    )
    yield page
    page.close()
    assert wrong == []


def look(page: Page, name: str) -> None:
    """Check that the view fits wide and narrow screens and is accessible, and write pictures if requested."""
    for width, theme in SCREENS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)
        page.wait_for_timeout(100)  # charts are resized at the browser's next frame
        if folder := os.environ.get("SHOTS"):
            page.screenshot(path=Path(folder) / f"{name}-{width}-{theme}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if (width, theme) in CHECKED:
            found = Axe().run(page).response["violations"]
            serious = [
                (one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")
            ]
            assert serious == []


def test_the_list_of_runs_leads_to_a_run_with_all_its_curves(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_role("link", name="paper")).to_be_visible()
    look(page, "overview")
    page.get_by_role("link", name="on-topic").click()
    expect(page.locator("figure canvas").first).to_be_visible()
    titles = page.locator("figcaption > span").all_inner_texts()
    for title in (
        *("Outcome", "Reward", "exploit, raw", "Scaled", "Share of the reward", "Completions in memory"),
        *("Diversity", "Rejected", "Merged", "Evicted"),
    ):
        assert any(one.startswith(title) for one in titles), title
    assert page.locator("figure canvas").count() == len(titles)
    look(page, "run")


@pytest.mark.parametrize("address", ["#/compare", "#/compare/", "#/run", "#/run/", "#/nothing"])
def test_an_address_without_a_run_leads_to_the_list(page: Page, url: str, address: str) -> None:
    page.goto(url + address)
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()


def test_runs_are_told_apart_at_a_glance_sorted_and_found(page: Page, url: str) -> None:
    page.goto(url)
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="collapsed", exact=True))
    expect(row).to_contain_text(re.compile(r"memory-r\+: exploit, explore.*(s|min) ago"))
    expect(row.get_by_role("img", name=re.compile("^outcome of the last 24 steps"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"^memr \d.*encoder hashed"))).to_be_visible()
    page.get_by_role("button", name="Alarms").click()
    expect(page.get_by_role("columnheader", name="Alarms")).to_have_attribute("aria-sort", "descending")
    expect(page.locator("tbody tr").first).to_contain_text("collapsed")
    expect(page.get_by_role("button", name="Alarms")).to_be_focused()
    page.get_by_role("searchbox").fill("on-TOPIC")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("searchbox").fill("collapsed")
    row.get_by_role("link", name=re.compile("[1-9] alarms")).click()
    expect(page.get_by_role("columnheader", name="what to do")).to_be_visible()


def test_charts_say_what_they_wait_for_and_fit_their_values(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/failing")
    figure = page.locator("figure")
    expect(figure.filter(has_text="exploit, raw")).to_contain_text("exploit compares with earlier successes")
    expect(figure.filter(has_text="exploit, raw").locator("canvas")).to_have_count(0)
    outcome = figure.filter(has_text="Outcome").first
    expect(outcome.locator(".legend li")).to_have_text(["step 2", "outcome 0"])  # without a cursor: the newest


def test_curves_update_by_themselves(page: Page, url: str) -> None:
    with RewardClient(url, run="growing") as client:
        client.reward(**request(0))
        page.goto(f"{url}/#/run/growing")
        outcome = page.get_by_role("group", name="Outcome over steps")
        expect(outcome).to_be_visible()
        client.reward(**request(1) | {"outcomes": [0.125] * 8})
        expect(outcome).to_have_attribute("aria-label", re.compile("outcome 0.125"))


@pytest.mark.parametrize("view", ["run/on-topic", "run/on-topic/map", "compare/paper,on-topic?measures=reward"])
def test_every_chart_is_saved_as_a_picture_and_as_a_table(page: Page, url: str, view: str) -> None:
    page.goto(f"{url}/#/{view}")
    expect(page.locator("figure canvas").first).to_be_visible()
    figures = page.locator("figure:visible")
    for number in range(figures.count()):
        if number % 5 == 4:  # Chromium lets a page save ten files before it asks
            page.reload()
            expect(figures.nth(number).locator("canvas")).to_be_visible()
        table, picture = (saved(page, figures.nth(number), kind) for kind in ("CSV", "PNG"))
        titles, *rows = csv.reader(table.read_text().splitlines())
        assert len(rows) >= 1
        assert {len(row) for row in rows} == {len(titles)}
        assert any(float(row[-1] or 0) for row in rows), titles
        assert picture.read_bytes().startswith(b"\x89PNG")
        if folder := os.environ.get("SHOTS"):
            shutil.copy(picture, Path(folder) / f"saved-{view.replace('/', '-')}-{number}.png")


def saved(page: Page, figure: Locator, kind: str) -> Path:
    """The file that a figure's button saves."""
    with page.expect_download() as download:
        figure.get_by_role("button", name=f"as {kind}").click()
    return Path(download.value.path())


def test_a_saved_table_has_a_line_for_each_step(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper")
    expect(page.locator("figure canvas").first).to_be_visible()
    outcome = page.locator("figure").filter(has_text="Outcome").first
    lines = saved(page, outcome, "CSV").read_text().splitlines()
    assert lines[0] == "step,outcome"
    assert [float(line.split(",")[1]) for line in lines[1:]] == [
        pytest.approx(np.mean(request(step)["outcomes"])) for step in range(STEPS)
    ]


def test_completions_are_sorted_filtered_paged_and_explained(page: Page, url: str) -> None:
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
    expect(page.get_by_text("Successes read")).to_be_visible()
    reward = page.locator(".facts", has_text="Reward").locator("dd").first.inner_text()
    accounted = page.locator(".account li").last.inner_text().rpartition(" a reward of ")[2].rstrip(".")
    assert float(accounted) == pytest.approx(float(reward), abs=1e-3)
    look(page, "explain")
    page.go_back()
    expect(page.get_by_text(f"1 to {wrong} of {wrong}")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Reward")).to_have_attribute("aria-sort", "descending")
    expect(page.get_by_label("Step")).to_have_value("7")


def test_completions_are_filtered_by_prompt_and_guard_and_show_their_end(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/on-topic/completions")
    expect(page.locator("td .right").first).to_be_visible()
    expect(page.locator("td .wrong").first).to_be_visible()
    box = page.locator("td.text .last").first
    assert box.evaluate("(at) => at.firstChild.getBoundingClientRect().bottom <= at.getBoundingClientRect().bottom + 1")
    page.get_by_role("link", name="its completions").first.click()
    expect(page.get_by_text("Of one prompt only.")).to_be_visible()
    expect(page.get_by_text("1 to 12 of 12")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Of all prompts").click()
    expect(page.get_by_text(f"1 to 50 of {8 * STEPS}")).to_be_visible()
    page.get_by_label("Rejected by").select_option(index=1)
    rejected = page.get_by_label("Rejected by").input_value()
    expect(page.get_by_role("cell", name=rejected).first).to_be_visible()
    page.get_by_role("link", name="its history").first.click()
    expect(page.get_by_role("columnheader", name="Pass rate after it")).to_be_visible()
    expect(page.get_by_text("1 to 12 of 12")).to_be_visible()
    expect(page.get_by_text("Of one prompt only.")).to_be_hidden()


def test_completions_are_found_by_their_text(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper/completions")
    page.get_by_role("searchbox", name="Text").fill(str(request(7)["prompts"][0])[:60].upper())
    page.get_by_role("searchbox", name="Text").press("Enter")
    expect(page.get_by_text(f"among the first {8 * STEPS} in this order")).to_be_visible()
    steps = page.get_by_role("row").get_by_text(re.compile("^step ")).all_inner_texts()
    assert set(steps) == {"step 7", "step 27", "step 47"}
    look(page, "search")


def test_prompts_are_filtered_and_one_is_forgotten(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/pooled/prompts")
    moments = page.get_by_text("After step")
    expect(moments).to_contain_text("After step 59")
    look(page, "prompts")
    page.locator(".heat canvas").focus()
    page.keyboard.press("ArrowLeft")
    expect(moments).to_contain_text("After step 58")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save Pass rates as CSV").click()
    assert len(saved.value.path().read_text().splitlines()) == STEPS + 1
    page.get_by_role("combobox", name="Prompts").select_option("unseen")
    expect(page.get_by_role("cell", name="other prompts")).to_have_count(20)
    page.get_by_role("combobox", name="Prompts").select_option("")
    page.get_by_role("button", name="Pass rate", exact=True).click()
    expect(page.get_by_role("columnheader", name="Pass rate")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("searchbox").fill(solutions()[0]["question"][:60])
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("among the first")).to_be_visible()
    page.locator("tbody tr", has_text="this run").get_by_role("link").first.click()
    expect(page.get_by_role("columnheader", name="Pass rate after it")).to_be_visible()
    look(page, "prompt")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Forget this prompt").click()
    expect(moments).to_be_visible()
    page.get_by_role("combobox", name="Prompts").select_option("unseen")
    expect(page.get_by_role("cell", name="other prompts")).to_have_count(21)


def test_suspects_are_found_and_decided(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/judged/suspects")
    expect(page.get_by_text("Calibrated on")).to_be_visible()
    page.get_by_label("Least probability").fill("0.1")
    page.get_by_label("Other runs that count").fill("judged-too")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_text("judged, judged-too")).to_be_visible()
    look(page, "suspects")
    rows = page.get_by_role("region", name="References that are likely wrong").locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("2 + 3?")
    page.get_by_role("button", name="Replace the reference").click()
    expect(rows).to_have_count(0)
    expect(page.get_by_role("region", name="Verdicts")).to_contain_text("5")


def test_a_new_text_is_explained(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper/explain")
    page.get_by_label("Prompt").fill("How much is 7 + 5?")
    page.get_by_label("Completion").fill("It is 12.")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_text("Components of the reward")).to_be_visible()
    look(page, "explain-own")


def test_the_map_shows_the_text_under_the_pointer_and_works_by_keyboard(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper/map")
    chart = page.locator(".map canvas")
    chart.hover()
    expect(page.get_by_text("Completion:")).to_be_visible()
    page.get_by_label("Colour").select_option("by age")
    expect(page.locator(".map .legend li")).to_have_text(["success memory", "failure memory", "oldest", "newest"])
    chart.focus()
    page.keyboard.press("ArrowRight")
    look(page, "map")
    selected = page.locator(".selected p").nth(1).inner_text().removeprefix("Completion: ")
    page.keyboard.press("Enter")
    expect(page.locator("blockquote").nth(1)).to_contain_text(selected[:100])
    page.go_back()
    page.locator(".map canvas").click(position={"x": 300, "y": 200})
    expect(page.get_by_text("Components of the reward")).to_be_visible()


def test_the_map_has_named_clusters_and_a_lasso_that_filter_the_table(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper/map")
    rows = page.get_by_role("region", name="Completions").locator("tbody tr")
    expect(page.get_by_role("region", name=f"Completions on the map: 1 to 25 of {8 * STEPS}")).to_be_visible()
    page.get_by_label("Colour").select_option("by cluster")
    cluster = page.get_by_role("combobox", name=re.compile("^Cluster"))
    clusters = cluster.locator("option")
    first = re.fullmatch(r"(\w+, \w+, \w+) \((\d+)\)", clusters.nth(1).inner_text())
    assert first
    words, count = first.groups()
    expect(page.locator(".map .legend")).to_contain_text(words)
    cluster.select_option(index=1)  # a choice, so that the keyboard does it too
    expect(page.get_by_role("region", name=re.compile(f"chosen: 1 to .* of {count}$"))).to_be_visible()
    expect(rows.first).to_contain_text(words)
    page.reload()
    expect(page.get_by_role("region", name=re.compile(f"chosen: 1 to .* of {count}$"))).to_be_visible()
    expect(page.get_by_label("Colour")).to_have_value("cluster")
    look(page, "map-clusters")
    page.get_by_role("button", name="All completions").click()
    box = page.locator(".map canvas").bounding_box()
    assert box
    for number, (right, down) in enumerate(((0.3, 0.05), (0.95, 0.05), (0.95, 0.5), (0.3, 0.5))):
        page.mouse.move(box["x"] + right * box["width"], box["y"] + down * box["height"], steps=3)
        if not number:
            page.mouse.down()
    page.mouse.up()
    chosen = page.get_by_role("region", name=re.compile("chosen: 1 to"))
    expect(chosen).to_be_visible()
    assert 0 < int((chosen.get_attribute("aria-label") or "").rpartition(" ")[2]) < 8 * STEPS
    rows.first.get_by_role("link").click()
    expect(page.get_by_text("Components of the reward")).to_be_visible()


def test_a_prompts_page_has_its_answers_visits_and_completions(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/judged-too/suspects")
    page.get_by_label("Least probability").fill("0")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("region", name="References").get_by_role("link", name="2 + 3?").click()
    answers = page.get_by_role("region", name="Answers. The reference is 9")
    expect(answers.locator("tbody tr")).to_have_count(2)
    expect(answers.locator("tbody tr").first).to_contain_text(re.compile(r"5.*3 \(75 %\)"))
    expect(page.get_by_role("region", name="Completions: 1 to 4 of 4")).to_be_visible()
    expect(page.get_by_role("group", name="Pass rate over positions")).to_be_visible()
    look(page, "prompt-answers")
    page.reload()
    page.get_by_role("link", name="Explain the newest completion with the answer 5").click()
    expect(page.get_by_text("Components of the reward")).to_be_visible()


def test_merged_entries_are_counted_and_neighbours_lead_on(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/twice/explain/0")
    expect(page.get_by_text("Merged into entries")).to_be_visible()
    expect(page.get_by_role("cell", name="2 ×").first).to_be_visible()
    look(page, "explain-merged")
    page.get_by_role("link", name="Explain completion number").first.click()
    expect(page).to_have_url(re.compile("explain/[1-9]"))


def test_audits_say_what_to_do(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/collapsed/audits")
    expect(page.get_by_role("columnheader", name="what to do")).to_be_visible()
    short = page.get_by_role("row").filter(has_text="length_short")
    expect(short).to_contain_text(re.compile("alarm.*< 0.70, < 0.50.*set min_chars"))
    expect(page.get_by_role("row").filter(has_text="plan_calibration")).to_contain_text("It waits for")
    look(page, "audits")
    short.get_by_role("link", name="See these completions").click()
    expect(page.get_by_text("1 to 50 of 160")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Length")).to_have_attribute("aria-sort", "ascending")
    expect(page.get_by_role("cell", name="No idea.").first).to_be_visible()


def test_runs_are_compared_by_many_measures_and_by_their_configs(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_label("Compare paper").check()
    page.get_by_label("Compare on-topic").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("figure canvas").first).to_be_visible()
    assert page.locator("figure canvas").count() > 10
    expect(page.locator("summary")).to_contain_text("Configs differ in 4 of")
    weight = page.get_by_role("row").filter(has_text="components.explore.weight")
    expect(weight.get_by_role("cell")).to_have_text(["components.explore.weight", "1", "0.5"])
    look(page, "compare")
    page.get_by_role("searchbox", name="Measures").fill("exploit, RAW")
    expect(page.locator("figure:visible")).to_have_count(1)
    page.reload()
    expect(page.locator("figure:visible")).to_have_count(1)
    expect(page.get_by_role("group", name="exploit, raw")).to_be_visible()
    page.goto(f"{url}/#/compare/paper,paper")
    expect(page.get_by_text("Their configs are equal.")).to_be_visible()


def test_charts_are_zoomed_and_smoothed_and_the_address_keeps_it(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper")
    expect(page.locator("figure canvas").first).to_be_visible()
    expect(page.get_by_text("Drag across a chart to zoom")).to_be_visible()
    plot = page.locator("figure .u-over").first
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(page.get_by_text(re.compile(r"Zoomed to (29|30)\.\d – 5[89]"))).to_be_visible()
    page.get_by_label("Smoothing").select_option("mean of 10 points")
    page.mouse.move(0, 0)
    told = page.locator("figure").filter(has_text="Outcome").first.locator(".legend li").last
    means = [float(np.mean(request(step)["outcomes"])) for step in range(STEPS)]
    expect(told).to_have_text(re.compile(rf"outcome {np.mean(means[49:59]):.3f} \(raw {means[58]:.3f}"))
    assert re.search("from=.*to=.*smooth=10", page.url)
    page.reload()
    expect(page.get_by_text("Zoomed to ")).to_be_visible()
    expect(page.get_by_label("Smoothing")).to_have_value("10")
    look(page, "zoomed")
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_text("Drag across a chart to zoom")).to_be_visible()
    assert "from" not in page.url


def test_lines_are_told_apart_and_hidden_by_the_legend(page: Page, url: str) -> None:
    names = [f"line-{number}" for number in range(14)]
    with RewardClient(url) as client:
        for name in names:
            client.reward(**request(0), run_id=name)
    page.goto(f"{url}/#/compare/{','.join(names)}")
    expect(page.get_by_text("The first 12 of 14")).to_be_visible()
    samples = page.locator("figure").first.locator(".legend line")
    expect(samples).to_have_count(12)
    drawn = samples.evaluate_all(
        "(all) => all.map((at) => [at.getAttribute('stroke'), at.getAttribute('stroke-dasharray')])"
    )
    assert len({colour for colour, _ in drawn}) == len({dash for _, dash in drawn}) == 12
    first = page.locator("figure").first.get_by_role("button", name="line-0")
    first.press("Enter")
    expect(first).to_have_attribute("aria-pressed", "false")


def test_latency_is_shown_part_by_part_with_throughput_and_errors(page: Page, url: str) -> None:
    page.goto(f"{url}/#/latency")
    commit = page.get_by_role("row").filter(has_text="commit: make the record durable")
    expect(commit).to_contain_text("≤")
    with RewardClient(url, run="measured") as client:
        client.reward(**request(0))
        with pytest.raises(UnknownRun):
            client.run("no-such-run")
    expect(page.get_by_role("group", name="POST /reward over times")).to_be_visible()
    expect(page.get_by_role("group", name=re.compile("^Errors over times.*refused"))).to_be_visible()
    expect(page.locator("figure").filter(has_text="Throughput").locator(".legend")).to_contain_text("completions")
    look(page, "latency")


def test_quantiles_beyond_the_last_bucket_are_not_told_as_its_end(page: Page, url: str) -> None:
    counts = {"100.0": 90, "+Inf": 100}
    lines = [f'memr_commit_seconds_bucket{{le="{bound}"}} {count}.0' for bound, count in counts.items()]
    told = "\n".join([*lines, "memr_commit_seconds_count 100.0", "memr_commit_seconds_sum 2000.0", ""])
    page.route("**/metrics", lambda route: route.fulfill(body=told, content_type="text/plain"))
    page.goto(f"{url}/#/latency")
    commit = page.get_by_role("row").filter(has_text="commit: make the record durable").get_by_role("cell")
    expect(commit.nth(3)).to_have_text("≤ 100,000")
    expect(commit.nth(4)).to_have_text("> 100,000")


def test_a_server_that_is_gone_is_told_and_the_page_recovers(page: Page, tmp_path: Path) -> None:
    port = free_port()
    store = "--store", f"sqlite:///{tmp_path}"
    banner = page.get_by_role("alert").filter(has_text="The server does not answer")
    with serving(*store, port=port) as url, RewardClient(url, run=LONG) as client:
        client.reward(**request(0))
        page.goto(f"{url}/#/run/{LONG}")
        expect(page.locator("figure canvas").first).to_be_visible()
    expect(banner).to_contain_text(re.compile(r"is of \d\d:\d\d:\d\d \w+"))
    assert "grayscale" in page.locator("figure canvas").first.evaluate("(at) => getComputedStyle(at).filter")
    look(page, "gone")
    page.get_by_role("link", name="Completions").click()
    expect(page.locator("main")).to_contain_text("The server does not answer.")
    page.get_by_role("button", name="Retry").click()
    expect(banner).to_be_visible()
    with serving(*store, port=port):
        expect(page.get_by_text("1 to 8 of 8")).to_be_visible()
        expect(banner).to_be_hidden()
        page.goto(url)
        expect(page.get_by_role("link", name=LONG)).to_be_visible()
        look(page, "long-name")


def test_a_long_list_of_runs_is_paged(page: Page, url: str) -> None:
    with RewardClient(url) as client:
        (run,) = (one for one in client.runs() if one.run_id == "failing")
    runs = [run.model_copy(update={"run_id": f"{LONG}-{number:04}"}).model_dump(mode="json") for number in range(1000)]
    page.route("**/runs?recent=true", lambda route: route.fulfill(json={"runs": runs}))
    page.goto(f"{url}/#/?sort=name&up=1")
    expect(page.get_by_text("1 to 50 of 1,000")).to_be_visible()
    page.get_by_role("button", name="Next page").click()
    expect(page.get_by_role("link", name=f"{LONG}-0050")).to_be_visible()
    page.get_by_role("searchbox").fill("-0999")
    expect(page.locator("tbody tr")).to_have_count(1)
    look(page, "many")


def test_dark_is_remembered(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/paper")
    page.get_by_role("button", name="Dark").click()
    page.reload()
    expect(page.get_by_role("button", name="Light")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 25, 29)"
    expect(page.locator("figure canvas").first).to_be_visible()
    look(page, "dark")


def test_every_view_is_reached_by_keyboard(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_role("link", name="paper")).to_be_visible()
    press(page, "Skip to content")
    press(page, "Compare paper", "Space")
    press(page, "Compare on-topic", "Space", back=True)
    press(page, "Compare", back=True)
    expect(page.locator("figure canvas").first).to_be_visible()
    press(page, "Runs")
    expect(page.get_by_role("link", name="on-topic")).to_be_visible()
    press(page, "on-topic")
    expect(page.locator("figure canvas").first).to_be_visible()
    reach(page, "Outcome over steps.*")
    for step in (59, 58):
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".legend li").first).to_have_text(f"step {step}")
    page.keyboard.press("+")
    expect(page.get_by_text("Zoomed to ")).to_be_visible()
    page.keyboard.press("0")
    expect(page.get_by_text("Zoomed to ")).to_be_hidden()
    press(page, "Completions", back=True)
    press(page, "Reward")
    expect(page.get_by_role("columnheader", name="Reward")).to_have_attribute("aria-sort", "descending")
    press(page, "Explain item .*")
    expect(page.get_by_text("Successes read")).to_be_visible()
    press(page, "Map")
    expect(page.locator(".map canvas")).to_be_visible()
    reach(page, "Map of .*")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Successes read")).to_be_visible()
    press(page, "Audits")
    expect(page.get_by_role("columnheader", name="what to do")).to_be_visible()


def press(page: Page, name: str, key: str = "Enter", *, back: bool = False) -> None:
    """Go to the element with this name by Tab, and press a key."""
    reach(page, name, back=back)
    page.keyboard.press(key)


def reach(page: Page, name: str, *, back: bool = False) -> None:
    """Go to the element with this name (a regular expression) by Tab."""
    focused = "(({ activeElement: at }) => at.getAttribute('aria-label') ?? at.innerText)(document)"
    for _ in range(100):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if re.fullmatch(name, page.evaluate(focused).strip()):
            return
    raise AssertionError(f"{name} is not on the way")


def test_what_a_completion_holds_is_shown_as_text(page: Page, url: str) -> None:
    page.goto(f"{url}/#/run/markup/completions")
    expect(page.get_by_text("<img src=x")).to_be_visible()
    assert page.locator("td img").count() == 0


def test_a_key_is_asked_for_and_kept_for_the_session(browser: Browser, page: Page, tmp_path: Path) -> None:
    entry = {"name": "reader", "scope": "read", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}
    (tmp_path / "keys.json").write_text(json.dumps([entry]))
    with serving("--keys-file", str(tmp_path / "keys.json"), api_key=KEY) as url:
        page.goto(url)
        page.get_by_role("textbox", name="API key").fill("wrong")
        page.get_by_role("button", name="Use key").click()
        expect(page.get_by_role("dialog")).to_contain_text("Look for a missing character")
        look(page, "key")
        page.keyboard.press("Escape")
        expect(page.get_by_role("alert")).to_contain_text("needs an API key")
        page.get_by_role("button", name="Enter a key").click()
        page.get_by_role("textbox", name="API key").fill(KEY)
        page.keyboard.press("Enter")
        expect(page.get_by_text("No runs yet.")).to_be_visible()
        page.reload()
        expect(page.get_by_text("No runs yet.")).to_be_visible()
        assert KEY not in page.evaluate("JSON.stringify(localStorage)")
        expect(page.get_by_role("button", name="API key")).to_be_visible()
