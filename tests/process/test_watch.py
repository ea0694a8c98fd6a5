"""`memr watch` writes every step once, whatever happens to the server, the run or the watcher."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient
from memr_client.errors import MemrError, UnknownRun
from memr_service.cli.history import metrics
from memr_service.cli.sinks import SinkKind, open_sink
from memr_service.cli.watch import follow, watch
from support.serving import free_port, serving

D = 8
EVERY = 0.05


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def client(server: str, request: pytest.FixtureRequest) -> Iterator[RewardClient]:
    with RewardClient(server, run=request.node.name[:100].replace("[", "-").rstrip("]"), retries=0) as client:
        client.create_run(explore_warmup_steps=0)
        yield client


def train(client: RewardClient, step: int | None, seed: int | None = None) -> None:
    rng = np.random.default_rng(step if seed is None else seed)
    client.reward(
        ["p", "p", "q", "q"],
        ["a" * length for length in (3, 9, 27, 81)],
        [1.0, 0.0, 1.0, 1.0],
        step=step,
        embeddings={"prompts": np.eye(D)[[0, 0, 1, 1]], "completions": rng.normal(size=(4, D))},
    )


def write_once(client: RewardClient, folder: Path, kind: SinkKind = "jsonl", from_now: bool = False) -> list[str]:
    """Write all existing steps. Returns the messages for the user."""
    told: list[str] = []
    with closing(open_sink(kind, folder, name(client))) as sink:
        follow(client, name(client), sink, EVERY, once=True, from_now=from_now, say=told.append)
    return told


def name(client: RewardClient) -> str:
    assert client.run_id is not None
    return client.run_id


def lines(folder: Path, client: RewardClient) -> list[dict[str, Any]]:
    path = folder / f"{client.run_id}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_existing_steps_are_written_once_however_often_it_is_called(client: RewardClient, tmp_path: Path) -> None:
    for step in range(3):
        train(client, step)
    write_once(client, tmp_path)
    write_once(client, tmp_path)
    train(client, 3)
    write_once(client, tmp_path)
    assert [line["step"] for line in lines(tmp_path, client)] == [0, 1, 2, 3]
    last = client.history()[-1]
    assert lines(tmp_path, client)[-1] == {"step": 3, "branch": 0, "position": 4, "at": last.at, **metrics(last)}


def test_an_incomplete_line_is_written_again(client: RewardClient, tmp_path: Path) -> None:
    for step in range(2):
        train(client, step)
    write_once(client, tmp_path)
    path = tmp_path / f"{client.run_id}.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    write_once(client, tmp_path)
    assert path.read_bytes() == whole


def test_from_now_leaves_out_what_is_there_but_nothing_after_what_was_written(
    client: RewardClient, tmp_path: Path
) -> None:
    train(client, 0)
    write_once(client, tmp_path, from_now=True)
    assert lines(tmp_path, client) == []
    write_once(client, tmp_path)
    train(client, 1)
    write_once(client, tmp_path, from_now=True)
    assert [line["step"] for line in lines(tmp_path, client)] == [0, 1]


def test_a_restored_run_is_followed_onto_its_new_branch(client: RewardClient, tmp_path: Path) -> None:
    for step in range(5):
        train(client, step)
        client.create_checkpoint(name(client), f"step-{step}")
    write_once(client, tmp_path)
    client.restore(name(client), "step-1")
    told = write_once(client, tmp_path)
    assert "restored to an earlier position: continuing after 2, on branch 1" in told[0]
    train(client, 2, seed=77)
    write_once(client, tmp_path)
    client.restore(name(client), "step-2")
    for step in range(3, 6):
        train(client, step)
    told = write_once(client, tmp_path)
    assert "continuing after 3, on branch 2" in told[0]
    wrote = [(line["branch"], line["position"], line["step"]) for line in lines(tmp_path, client)]
    first = [(0, position, position - 1) for position in range(1, 6)]
    assert wrote == [*first, (1, 3, 2), (2, 4, 3), (2, 5, 4), (2, 6, 5)]


def test_another_run_of_the_same_name_is_written_from_its_beginning(client: RewardClient, tmp_path: Path) -> None:
    for step in range(2):
        train(client, step)
    write_once(client, tmp_path)
    client.delete_run(name(client))
    train(client, 7)
    assert "another run" in write_once(client, tmp_path)[0]
    assert [line["step"] for line in lines(tmp_path, client)] == [0, 1, 7]


def test_once_says_that_there_is_no_such_run(server: str, tmp_path: Path) -> None:
    with RewardClient(server, run="nobody", retries=0) as client, pytest.raises(UnknownRun):
        write_once(client, tmp_path)


def test_a_step_is_written_when_it_no_longer_grows(
    client: RewardClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three polls; the step grows between the first two."""
    sink = open_sink("jsonl", tmp_path, name(client))
    looks = iter([lambda: train(client, 0, seed=2), lambda: None, interrupt])
    train(client, 0, seed=1)
    monkeypatch.setattr("memr_service.cli.watch.time.sleep", lambda seconds: next(looks)())
    with closing(sink), pytest.raises(KeyboardInterrupt):
        follow(client, name(client), sink, EVERY, once=False, from_now=False, say=print)
    assert [(line["step"], line["memr/items"]) for line in lines(tmp_path, client)] == [(0, 8)]


def interrupt() -> None:
    raise KeyboardInterrupt


def test_tensorboard_gets_a_point_for_each_step(client: RewardClient, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    for step in range(3):
        train(client, step)
    write_once(client, tmp_path, "tensorboard")
    train(client, 3)
    write_once(client, tmp_path, "tensorboard")
    events = EventAccumulator(str(tmp_path / name(client)), size_guidance={"tensors": 0})
    events.Reload()
    rows = client.history()
    for metric, read in (("memr/reward/mean", "reward_mean"), ("memr/length/mean", "length_mean")):
        points = events.Tensors(metric)
        assert [point.step for point in points] == [0, 1, 2, 3]
        drawn = [float(make_ndarray(point.tensor_proto)) for point in points]
        assert drawn == pytest.approx([getattr(row, read) for row in rows], rel=1e-6)
    assert set(metrics(rows[-1])) <= set(events.Tags()["tensors"])


def test_wandb_gets_each_step_over_an_axis_that_may_go_back(
    client: RewardClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for step in range(3):
        train(client, step)
    write_once(client, tmp_path, "wandb")
    train(client, 1)
    write_once(client, tmp_path, "wandb")
    (run_id,) = {path.stem.removeprefix("run-") for path in tmp_path.glob("wandb/offline-run-*/*.wandb")}
    assert json.loads((tmp_path / f"{client.run_id}.wandb.json").read_text())["id"] == run_id

    def logged() -> list[dict[str, Any]]:
        files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
        return [row for path in files for row in wandb_rows(path)]

    until(lambda: len(logged()) > 3)  # its own process may still be writing when a run is finished
    assert [row["memr/step"] for row in logged()] == [0, 1, 2, 1]
    expected = [row.reward_mean for row in client.history()]
    assert [row["memr/reward/mean"] for row in logged()] == pytest.approx(expected)


def wandb_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a .wandb file: 7 bytes, then blocks of 32 KiB with fragments of records (a LevelDB log)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, record = path.read_bytes(), 7, b""
    while True:
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        if at + 7 > len(data):
            return
        length, kind = struct.unpack_from("<HB", data, at + 4)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if at > len(data):
            return
        if kind in (1, 4):  # a whole record, or its last fragment
            items = Record.FromString(record).history.item
            row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
            if row:
                yield row
            record = b""


def test_mlflow_gets_each_step_in_one_run(
    client: RewardClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    import mlflow

    for step in range(2):
        train(client, step)
    write_once(client, tmp_path, "mlflow")
    train(client, 2)
    write_once(client, tmp_path, "mlflow")
    found = mlflow.MlflowClient()
    (run,) = found.search_runs(["0"])
    assert run.info.run_name == name(client)
    points = found.get_metric_history(run.info.run_id, "memr/exploit/raw/p50")
    medians = [row.components["exploit"].raw.p50 for row in client.history()]  # type: ignore[union-attr]
    assert [(point.step, point.value) for point in points] == list(enumerate(medians))


@pytest.mark.parametrize(
    ("kind", "package"), [("tensorboard", "tensorboard"), ("wandb", "wandb"), ("mlflow", "mlflow-skinny")]
)
def test_a_library_that_is_missing_is_named_with_what_installs_it(
    kind: SinkKind, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tensorboard.summary", "wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MemrError, match=f"pip install {package}$"):
        open_sink(kind, tmp_path, "run")


def test_the_help_lists_every_metric(client: RewardClient) -> None:
    client.create_run("guarded", explore_warmup_steps=0, components={"exploit": {"guards": {"min_chars": 9}}})
    client.reward(["p"] * 3, ["a", "a" * 10, "b" * 20], [1, 1, 0], run_id="guarded")
    told = set((watch.__doc__ or "").split())
    told |= {name.replace("/p5", f"/{quantile}") for name in told for quantile in ("p25", "p50", "p75", "p95")}
    told |= {name.replace("COMPONENT", "exploit").replace("REASON", "too_short") for name in told}
    (row,) = client.history("guarded")
    assert row.rejected
    assert set(metrics(row)) <= told


def test_a_watcher_outlives_the_server(tmp_path: Path) -> None:
    """A real `memr watch` while the server is gone, comes back, and the trainer goes on."""
    store, port = f"sqlite:///{tmp_path}/data", free_port()
    with serving("--store", store, port=port) as url, RewardClient(url, run="run") as client:
        command = [sys.executable, "-m", "memr_service", "watch", "run", "--url", url, "--dir", str(tmp_path)]
        watcher = subprocess.Popen(
            [*command, "--every", "0.1"],
            stderr=subprocess.PIPE,
            text=True,
            # If the tests run as a shell's background job, they ignore SIGINT, and so would their children.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        for step in range(2):
            train(client, step)
        until(lambda: len(lines(tmp_path, client)) == 2)
    try:
        assert watcher.stderr is not None
        said = iter(watcher.stderr.readline, "")
        assert next(said) == f"Writing the steps of run to {tmp_path}/run.jsonl. Ctrl-C stops.\n"
        assert next(line for line in said if not line.startswith("Wrote ")).startswith("waiting: ")
        with serving("--store", store, port=port) as url, RewardClient(url, run="run") as client:
            train(client, 2)
            until(lambda: len(lines(tmp_path, client)) == 3)
    finally:
        watcher.send_signal(signal.SIGINT)
        _, said = watcher.communicate(timeout=30)
    assert "continuing." in said
    assert watcher.returncode == 0
    assert [line["step"] for line in lines(tmp_path, client)] == [0, 1, 2]
