"""`memr runs`: look after the runs of a server, over HTTP."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Annotated

import typer
from memr_client import RewardClient
from memr_client.schemas import RunInfo
from rich.table import Table

from memr_service.cli import checkpoints, history
from memr_service.cli.options import HERE, ApiKey, RunName, Url
from memr_service.cli.terminal import out, say

app = typer.Typer(name="runs", no_args_is_help=True, help="Look after a server's runs.")
app.add_typer(checkpoints.app, name="checkpoint")


@app.command("list")
def list_runs(url: Url = HERE, api_key: ApiKey = None) -> None:
    """List the runs with their sizes.

    ```
    memr runs list
    memr runs list --url http://gpu-box:8000
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        runs = client.runs()
    table = Table("run", "preset", caption=None if runs else "No runs yet: the first POST /reward makes one.")
    for heading in ("records", "step", "success", "failure"):
        table.add_column(heading, justify="right")
    table.add_column("created")
    for run in runs:
        success, failure = run.memory.success.completions, run.memory.failure.completions
        numbers = [str(run.position), "-" if run.step is None else str(run.step), str(success), str(failure)]
        table.add_row(run.run_id, run.config.preset, *numbers, run.created_at)
    out.print(table)


@app.command()
def show(
    run: RunName,
    digest: Annotated[bool, typer.Option("--digest", help="Also the SHA-256 over the run's whole state.")] = False,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Show a run as JSON: config, sizes, windows, position.

    ```
    memr runs show gsm8k-seed0
    memr runs show gsm8k-seed0 --digest
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        _print(client.run(run, digest=digest))


@app.command()
def delete(
    run: RunName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Delete a run with its memories, journal and texts. Nothing brings it back; asks first.

    ```
    memr runs delete gsm8k-seed0
    memr runs delete gsm8k-seed0 --yes
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        info = client.run(run)
        stored = info.memory.success.completions + info.memory.failure.completions
        if not yes:
            typer.confirm(f"Delete run {run} with {info.position} records and {stored} completions?", abort=True)
        client.delete_run(run)
    say(f"Deleted {run}.")


@app.command()
def export(
    run: RunName,
    file: Annotated[Path, typer.Argument(help="Where to write it.", metavar="FILE")],
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Write a whole run to one file, to keep or to import elsewhere.

    ```
    memr runs export gsm8k-seed0 gsm8k-seed0.memr
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        client.export_run(run, file)
    say(f"Wrote {run} to {file} ({file.stat().st_size:,} bytes).")


@app.command("import")
def import_run(
    file: Annotated[
        Path, typer.Argument(help="A file that export wrote.", metavar="FILE", exists=True, dir_okay=False)
    ],
    run: RunName,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Make a run from an exported file, under the name given.

    ```
    memr runs import gsm8k-seed0.memr gsm8k-seed0-copy
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        _print(client.import_run(run, file))


@app.command()
def restore(
    run: RunName,
    checkpoint: Annotated[str, typer.Argument(metavar="NAME", help="Where to: memr runs checkpoint list tells.")],
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Bring a run back to a checkpoint: memories, windows, counters and request ids become what they were.

    The run goes on, on a new branch, from there. What came after the checkpoint stays stored on the branch that is
    left; only another checkpoint leads back to it, so name the present position first if you may want it again.

    ```
    memr runs restore gsm8k-seed0 step-500
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        left = client.run(run)
        now = client.restore(run, checkpoint)
    say(
        f"{run} is back at {checkpoint}: position {now.position}, on branch {now.branch} "
        f"(it was at position {left.position} of branch {left.branch})."
    )


@app.command()
def fork(
    run: RunName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The copy's name.")],
    checkpoint: Annotated[
        str | None, typer.Option(help="Copy the run as it was at this checkpoint.", show_default="as it is now")
    ] = None,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Copy a run under another name, request ids included; both go on by themselves.

    ```
    memr runs fork gsm8k-seed0 gsm8k-seed0-warm
    memr runs fork gsm8k-seed0 gsm8k-ablation --checkpoint step-500
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        copy = client.fork(run, new, checkpoint)
    say(f"{new} is a copy of {run} at position {copy.position}.")


@app.command("history")
def show_history(
    run: RunName,
    last: Annotated[int, typer.Option(min=0, help="How many of the newest steps; 0: all.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each step, with everything.")] = False,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Show a run step by step: outcomes, rewards, and each component's raw median, scaled mean and share of the reward.

    A raw value that drifts while the scaled one stays is what scaling hides. `memr watch` follows a run that goes on.

    ```
    memr runs history gsm8k-seed0
    memr runs history gsm8k-seed0 --last 0 --json > steps.jsonl
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        rows = deque(history.steps(client, run), maxlen=last or None)
    if as_json:
        for row in rows:
            print(row.model_dump_json())
    else:
        out.print(history.table(rows))


def _print(info: RunInfo) -> None:
    print(info.model_dump_json(indent=2))
