"""docs/how-to/operate.md, alerts and the Grafana dashboard: their names exist, and their instructions work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import httpx
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from memr_client import RewardClient
from memr_client.schemas import RunInfo
from memr_service.settings import Settings
from support.redis_server import RedisServer, binary
from support.serving import serving

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/operate.md").read_text("utf-8")
RULES = yaml.safe_load((ROOT / "docker/alerts.yaml").read_text())["groups"][0]["rules"]
BOARD = json.loads((ROOT / "docker/grafana/memr.json").read_text())
QUERIES = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
METRIC = re.compile(r"\b(?:memr|process)_[a-z_]+\b")


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """The names of all series of a server that has served a reward."""
    with serving() as url, RewardClient(url, run="run") as client:
        client.reward(["q"], ["a"], [1])
        return set(re.findall(r"^([a-z_]+)", httpx.get(f"{url}/metrics").text, re.MULTILINE))


@pytest.mark.parametrize("query", [*QUERIES, *(rule["expr"] for rule in RULES)])
def test_a_query_names_metrics_that_a_server_exports(query, exported):
    named = set(METRIC.findall(query))
    assert named <= exported
    assert named or query.startswith("up{")


def test_the_page_names_metrics_that_a_server_exports(exported):
    named = {name for code in re.findall(r"`(.*?)`", PAGE) for name in METRIC.findall(code)}
    assert "memr_history_rewinds_total" in named
    assert {
        name if name in exported else f"{name}_sum" for name in named
    } <= exported  # a histogram is named without its suffixes


def test_the_page_says_what_to_do_at_every_alert_and_at_no_other():
    assert re.findall(r"^\| `(Memr\w+)`", PAGE, re.MULTILINE) == [rule["alert"] for rule in RULES]


def test_grafanas_models_know_every_field_of_the_dashboard():
    written = json.loads(json.dumps(Dashboard.from_json(BOARD), cls=JSONEncoder))
    lost = [*missing(BOARD, written)]
    assert not lost


def missing(given: object, written: object, path: str = "dashboard"):
    """Where something of the first is not, or not as it was, in the second."""
    if isinstance(given, dict) and isinstance(written, dict):
        for name, value in given.items():
            yield from missing(value, written.get(name), f"{path}.{name}")
    elif isinstance(given, list) and isinstance(written, list) and len(given) == len(written):
        for number, (one, other) in enumerate(zip(given, written, strict=True)):
            yield from missing(one, other, f"{path}[{number}]")
    elif given != written:
        yield path


def test_grafanas_models_lose_a_field_that_is_misspelt():
    board = {**BOARD, "panels": [{**BOARD["panels"][0], "titel": "Rewards"}]}
    written = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert [*missing(board, written)] == ["dashboard.panels[0].titel"]


def test_an_alert_has_a_severity_and_a_description():
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "warn", "info")
        assert rule["annotations"]["summary"]


def test_panels_have_distinct_positions_and_names():
    assert len({panel["title"] for panel in BOARD["panels"]}) == len({panel["id"] for panel in BOARD["panels"]})
    for one, other in combinations((panel["gridPos"] for panel in BOARD["panels"]), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_settings_that_the_page_names_exist():
    named = {name.removeprefix("MEMR_").lower() for name in re.findall(r"\bMEMR_[A-Z_]+\b", PAGE)}
    assert named <= {*Settings.model_fields, "url", "api_key", "run"}


def steps(title: str) -> tuple[str, str]:
    """A section's commands for a backup and for restoring it."""
    section = PAGE.split(f"\n### {title}\n")[1].split("\n##")[0]
    backup, restore = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert restore.startswith("# restore")
    return backup, restore


def carry_out(commands: str, folder: Path, **environment: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), str(Path(binary()).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder, env=os.environ | {"PATH": path} | environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def train(url: str, first: int, last: int) -> RunInfo:
    """Send some steps to the run. Returns its description."""
    with RewardClient(url, run="gsm8k-seed0") as client:
        for number in range(first, last):
            said = [f"{number} makes {item}" for item in range(4)]
            client.reward(["2 + 2?"] * 4, said, [0, 1, 0, 1], step=number, request_id=f"step {number}")
        return client.run(digest=True)


def test_an_exported_run_is_brought_back_as_it_was(tmp_path):
    backup, restore = steps("One run, while it is served")
    with serving() as url:
        kept = train(url, 0, 5)
        carry_out(backup, tmp_path, MEMR_URL=url)
        train(url, 5, 7)
    with serving() as url:
        carry_out(restore, tmp_path, MEMR_URL=url)
        assert train(url, 0, 5).digest == kept.digest  # the request ids are known, so nothing is counted twice
        assert train(url, 5, 6).position == 6


def test_a_folder_that_was_copied_under_way_is_brought_back_as_it_was(tmp_path):
    backup, restore = steps("A folder, while it is served")
    store = f"sqlite:///{tmp_path}/memr-data"
    with serving("--store", store) as url:
        kept = train(url, 0, 5)
        carry_out(backup, tmp_path)
        train(url, 5, 7)
    carry_out(restore, tmp_path)
    with serving("--store", store) as url:
        assert train(url, 0, 0).digest == kept.digest
        assert train(url, 5, 6).position == 6


def test_a_redis_that_was_copied_under_way_is_brought_back_as_it_was_and_services_notice(tmp_path):
    backup, restore = steps("A Redis")
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as redis, serving("--store", redis.url) as url:
        kept = train(url, 0, 5)
        carry_out(backup, tmp_path, REDIS=redis.url)
        train(url, 5, 7)
        redis.kill()
        try:
            carry_out(restore, tmp_path, PORT=str(redis.port))
            assert train(url, 0, 0).digest == kept.digest
            assert train(url, 5, 6).position == 6
            assert "memr_history_rewinds_total 1.0" in httpx.get(f"{url}/metrics").text
        finally:
            redis.client().shutdown(nosave=True)
