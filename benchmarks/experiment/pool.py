"""Runs many trainings in parallel, one thread each. Every result is stored at once and reused."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Row = dict[str, Any]


def run_all(
    trainings: dict[str, Any], work: Callable[[Any], Row], kept: Path, processes: int | None = None
) -> dict[str, Row]:
    """Result of each training, by its key. Results that `kept` already has are reused.

    Args:
        trainings: key -> arguments of `work`. The key names everything that the result depends on.
        work: a function that another process can import.
        kept: file of JSON lines, one per finished training. An interrupted experiment continues from it.
        processes: number of trainings at once. Default: one per core.
    """
    done = {key: row for key, row in read(kept).items() if key in trainings}
    left = [key for key in trainings if key not in done]
    if not left:
        return done
    kept.parent.mkdir(parents=True, exist_ok=True)
    _mend(kept)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    spawn = multiprocessing.get_context("spawn")
    with (
        Progress(TextColumn("{task.description}"), *columns) as progress,
        kept.open("a") as file,
        ProcessPoolExecutor(processes or os.cpu_count(), mp_context=spawn, initializer=_one_thread) as pool,
    ):
        bar = progress.add_task("trainings", total=len(trainings), completed=len(done))
        running = {pool.submit(work, trainings[key]): key for key in left}
        try:
            for future in as_completed(running):
                key, row = running[future], future.result()
                print(json.dumps({"key": key, "row": row}), file=file, flush=True)
                done[key] = row
                progress.update(bar, advance=1, description=key.partition(" ")[0])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return done


def read(kept: Path) -> dict[str, Row]:
    """The finished trainings, by key. An incomplete last line is ignored."""
    lines: Iterable[str] = kept.read_text().splitlines(keepends=True) if kept.exists() else []
    ended = (json.loads(line) for line in lines if line.endswith("\n"))
    return {line["key"]: line["row"] for line in ended}


def _mend(kept: Path) -> None:
    """Remove an incomplete last line, left by an interruption."""
    if kept.exists():
        whole = kept.read_bytes()
        os.truncate(kept, whole.rfind(b"\n") + 1)


def _one_thread() -> None:
    """Use one thread: a tiny model is slower on two, and the other cores are busy."""
    import torch

    torch.set_num_threads(1)
