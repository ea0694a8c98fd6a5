"""`memr watch`: writes a run's steps, as they are completed, to a file or an experiment tracker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from memr_client import RewardClient
from memr_client.errors import BadResponse, DeadlineExceeded, Overloaded, ServiceUnreachable, Unavailable, UnknownRun
from memr_client.schemas import HistoryRow

from memr_service.cli.options import DEFAULT_URL, ApiKey, RunName, Url, connect, home
from memr_service.cli.sinks import RunPosition, Sink, SinkKind, open_sink
from memr_service.cli.tail import Say, Tail
from memr_service.cli.terminal import remark

Result = TypeVar("Result")

TRANSIENT = (ServiceUnreachable, BadResponse, Unavailable, Overloaded, DeadlineExceeded, UnknownRun)
"""Errors that may pass: the server or its proxy restarts or is busy, or the trainer has not created the run yet."""


def watch(
    run: RunName,
    to: Annotated[
        SinkKind, typer.Option(help="Output. The library of a tracker is needed only if you choose it.")
    ] = "jsonl",
    folder: Annotated[
        Path,
        typer.Option(
            "--dir", help="Folder for RUN.jsonl, event files and the state that a restart reads.", callback=home
        ),
    ] = Path("memr-watch"),
    every: Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds between two requests to the server.")] = 10,
    once: Annotated[bool, typer.Option("--once", help="Write the existing steps, then exit.")] = False,
    from_now: Annotated[bool, typer.Option("--from-now", help="Leave out the steps that already exist.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Follow a run: write the statistics of each completed step to a file or an experiment tracker.

    Run it on any machine that reaches the server, during or after training; Ctrl-C stops it. When started again, it
    continues after the last step it wrote. It waits while the server restarts, and follows a run that is restored.

    The metrics have the same names in every output. COMPONENT is exploit, explore or another component of the run; p5
    stands for p5, p25, p50, p75 and p95. A metric without a value is left out:

    ```
    memr/reward/mean               memr/reward/std
    memr/outcome/mean              memr/outcome/zero_variance_share
    memr/COMPONENT/raw/p5          memr/COMPONENT/defined
    memr/COMPONENT/scaled/mean     memr/COMPONENT/scaled/std
    memr/COMPONENT/share           memr/rejected/COMPONENT/REASON
    memr/support/success           memr/support/failure
    memr/length/mean               memr/length/p5
    memr/memory/success/prompts    memr/memory/success/completions
    memr/memory/failure/prompts    memr/memory/failure/completions
    memr/merged/success            memr/merged/failure
    memr/evicted/success/LIMIT     memr/evicted/failure/LIMIT
    memr/items                     memr/groups
    memr/diversity
    ```

    The x axis is the trainer's step, or the record's position if requests name no step. Configure Weights & Biases and
    MLflow by their own environment variables (WANDB_PROJECT, MLFLOW_TRACKING_URI, ...).

    ```
    memr watch gsm8k-seed0 --to wandb --url http://gpu-box:8000
    memr watch gsm8k-seed0 --to tensorboard --dir runs
    memr watch gsm8k-seed0 --once
    ```
    """
    client = connect(url, api_key)
    with suppress(KeyboardInterrupt), client, closing(open_sink(to, folder, run)) as sink:
        remark(f"Writing the steps of {run} to {sink.where}.{'' if once else ' Ctrl-C stops.'}")
        follow(client, run, sink, every, once=once, from_now=from_now, say=remark)


def follow(
    client: RewardClient, run_id: str, sink: Sink, every: float, *, once: bool, from_now: bool, say: Say
) -> None:
    """Write the run's completed steps to the sink until interrupted.

    A step is complete when the next one has begun, or when nothing was added to it for `every` seconds.

    Args:
        every: seconds between two requests to the server.
        once: write the existing steps, then return.
        from_now: leave out the existing steps, unless the sink has already written some of the run.
        say: called with messages for the user.

    Raises:
        MemrError: waiting does not help, or `once` was given.
    """
    tail = Tail(client, run_id, sink.written, say)
    seen: HistoryRow | None = None
    if from_now and sink.written is None:
        info = _patiently(lambda: client.run(run_id), every, say, once=once)
        tail.written = RunPosition(info.branch, info.position)
    while True:
        rows = _patiently(tail.look, every, say, once=once)
        newest = rows[-1] if rows else None
        complete = rows if once or newest == seen else rows[:-1]
        seen = newest
        for row in complete:
            sink.write(row)
            tail.wrote(row)
        if complete or once:
            say(_written(complete))
        if once:
            return
        time.sleep(every)


def _written(rows: Sequence[HistoryRow]) -> str:
    if not rows:
        return "No new steps."
    first, last = (row.position if row.step is None else row.step for row in (rows[0], rows[-1]))
    steps = f"step {last}" if len(rows) == 1 else f"{len(rows)} steps, {first} to {last}"
    return f"Wrote {steps}: outcome {rows[-1].outcome_mean:.3f}, reward {rows[-1].reward_mean:.3f}."


def _patiently(look: Callable[[], Result], every: float, say: Say, *, once: bool) -> Result:
    """The result of `look`, repeated while the server is unavailable."""
    waiting = False
    while True:
        try:
            found = look()
        except TRANSIENT as error:
            if once:
                raise
            if not waiting:
                say(f"waiting: {error.in_one_line}")
            waiting = True
            time.sleep(every)
        else:
            if waiting:
                say("continuing.")
            return found
