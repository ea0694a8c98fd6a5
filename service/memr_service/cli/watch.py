"""`memr watch`: a run's steps as they come, from anywhere, into a file or an experiment tracker."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from memr_client import RewardClient
from memr_client.errors import BadResponse, DeadlineExceeded, Overloaded, ServiceUnreachable, Unavailable, UnknownRun
from memr_client.schemas import HistoryRow

from memr_service.cli.options import HERE, ApiKey, RunName, Url
from memr_service.cli.sinks import Kind, Place, Sink, open_sink
from memr_service.cli.tail import Say, Tail
from memr_service.cli.terminal import remark

T = TypeVar("T")

PASSING = (ServiceUnreachable, BadResponse, Unavailable, Overloaded, DeadlineExceeded, UnknownRun)
"""What may end by itself: a server (or its proxy) that restarts or is busy, a run that its trainer has yet to begin."""


def watch(
    run: RunName,
    to: Annotated[Kind, typer.Option(help="Where to write; its library is only needed if you choose it.")] = "jsonl",
    folder: Annotated[
        Path, typer.Option("--dir", help="For RUN.jsonl, event files, and notes of how far it has come.")
    ] = Path("memr-watch"),
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 10,
    once: Annotated[bool, typer.Option("--once", help="Write what there is and end.")] = False,
    from_now: Annotated[bool, typer.Option("--from-now", help="Leave out the steps that are there already.")] = False,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Follow a run: write the statistics of each step, as it is done, into a file or an experiment tracker.

    Runs anywhere that reaches the server, beside or after the training, until Ctrl-C. Started again it goes on after
    the last step it wrote. It waits for a server that restarts, and follows a run that is restored.

    The names, the same in every place (COMPONENT is exploit, explore or another of the run; p5 stands for p5, p25,
    p50, p75 and p95); a step without a value has none:

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

    They are drawn over the trainer's step, or over the record's position where requests name no step. Weights & Biases
    and MLflow take their own environment variables (WANDB_PROJECT, MLFLOW_TRACKING_URI, ...).

    ```
    memr watch gsm8k-seed0 --to wandb --url http://gpu-box:8000
    memr watch gsm8k-seed0 --to tensorboard --dir runs
    memr watch gsm8k-seed0 --once
    ```
    """
    client = RewardClient(url, api_key=api_key, retries=0)
    with suppress(KeyboardInterrupt), client, closing(open_sink(to, folder, run)) as sink:
        follow(client, run, sink, every, once=once, from_now=from_now, say=remark)


def follow(
    client: RewardClient, run_id: str, sink: Sink, every: float, *, once: bool, from_now: bool, say: Say
) -> None:
    """Write the run's steps to the sink as they come, until interrupted, or until all are written that there are.

    A step is written when the next one has begun, or when nothing was added to it for `every` seconds.

    Args:
        from_now: leave out what was there before, unless the sink has some of it.
        say: told what a person should know.

    Raises:
        MemrError: only with `once`, or where waiting does not help.
    """
    tail = Tail(client, run_id, sink.place, say)
    seen: HistoryRow | None = None
    if from_now and sink.place is None:
        info = _patiently(lambda: client.run(run_id), every, say, once=once)
        tail.place = Place(info.branch, info.position)
    while True:
        rows = _patiently(tail.look, every, say, once=once)
        newest = rows[-1] if rows else None
        complete = rows if once or newest == seen else rows[:-1]
        seen = newest
        for row in complete:
            sink.write(row)
            tail.wrote(row)
        if once:
            return
        time.sleep(every)


def _patiently(look: Callable[[], T], every: float, say: Say, *, once: bool) -> T:
    """The result of `look`, however long the server is away."""
    waiting = False
    while True:
        try:
            found = look()
        except PASSING as error:
            if once:
                raise
            if not waiting:
                say(f"waiting: {error}")
            waiting = True
            time.sleep(every)
        else:
            if waiting:
                say("going on.")
            return found
