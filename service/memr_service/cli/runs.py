"""`memr runs`: manages the runs of a server over HTTP."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Annotated

import typer
from memr_client.schemas import RunInfo

from memr_service.cli import checkpoints, history
from memr_service.cli.options import DEFAULT_URL, ApiKey, RunName, Url, connect, home, require_writable
from memr_service.cli.sheet import Sheet
from memr_service.cli.terminal import minute, out, say, say_json

app = typer.Typer(name="runs", no_args_is_help=True, help="Manage the runs of a server.")
app.add_typer(checkpoints.app, name="checkpoint")


@app.command("list")
def list_runs(url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """List the runs with the sizes of their memories.

    ```
    memr runs list
    memr runs list --url http://gpu-box:8000
    ```
    """
    with connect(url, api_key) as client:
        runs = client.runs()
    table = Sheet("run", caption=None if runs else "No runs yet: the first POST /reward creates one.")
    table.block("records", "step", "success", "failure")
    table.block("created (UTC)")
    table.block("preset", figures=False)
    for run in runs:
        success, failure = run.memory.success.completions, run.memory.failure.completions
        numbers = [str(run.position), "-" if run.step is None else str(run.step), str(success), str(failure)]
        table.row(run.run_id, numbers, [minute(run.created_at)], [run.config.preset])
    out.print(table)
    for run in runs:
        if run.damaged is not None:
            out.print(f"{run.run_id} is damaged: {run.damaged}", markup=False, highlight=False)


@app.command()
def show(
    run: RunName,
    digest: Annotated[bool, typer.Option("--digest", help="Also show the SHA-256 over the run's whole state.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Show a run as JSON: config, sizes, windows, position.

    ```
    memr runs show gsm8k-seed0
    memr runs show gsm8k-seed0 --digest
    ```
    """
    with connect(url, api_key) as client:
        _print(client.run(run, digest=digest))


@app.command()
def delete(
    run: RunName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Delete a run with its memories, journal and texts. This cannot be undone. Asks for confirmation.

    ```
    memr runs delete gsm8k-seed0
    memr runs delete gsm8k-seed0 --yes
    ```
    """
    with connect(url, api_key) as client:
        listed = {one.run_id: one for one in client.runs()}
        info = listed.get(run) or client.run(run)
        stored = info.memory.success.completions + info.memory.failure.completions
        if not yes:
            typer.confirm(f"Delete run {run} with {info.position} records and {stored} completions?", abort=True)
        client.delete_run(run)
    say(f"Deleted {run}.")


@app.command()
def export(
    run: RunName,
    file: Annotated[Path, typer.Argument(help="The file to write.", metavar="FILE", callback=home)],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Write a whole run to one file, as a backup or to import it into another server.

    ```
    memr runs export gsm8k-seed0 gsm8k-seed0.memr
    ```
    """
    require_writable(file)
    with connect(url, api_key) as client:
        client.export_run(run, file)
    say(f"Wrote {run} to {file} ({file.stat().st_size:,} bytes).")


@app.command("import")
def import_run(
    file: Annotated[
        Path, typer.Argument(help="A file that `memr runs export` wrote.", metavar="FILE", exists=True, dir_okay=False)
    ],
    run: RunName,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Create a run from an exported file.

    ```
    memr runs import gsm8k-seed0.memr gsm8k-seed0-copy
    ```
    """
    with connect(url, api_key) as client:
        _print(client.import_run(run, file))


@app.command()
def restore(
    run: RunName,
    checkpoint: Annotated[
        str, typer.Argument(metavar="NAME", help="The checkpoint's name; `memr runs checkpoint list` shows them.")
    ],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Restore a run to a checkpoint: memories, windows, counters and request ids become what they were.

    The run continues from there on a new branch. Later records stay stored on the old branch, but only a checkpoint can
    lead back to them. So create a checkpoint of the current position first if you may need it again.

    ```
    memr runs restore gsm8k-seed0 step-500
    ```
    """
    with connect(url, api_key) as client:
        before = client.run(run)
        after = client.restore(run, checkpoint)
    say(
        f"Restored {run} to {checkpoint}: position {after.position} on branch {after.branch} "
        f"(before: position {before.position} on branch {before.branch})."
    )


@app.command()
def fork(
    run: RunName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The copy's name.")],
    checkpoint: Annotated[
        str | None, typer.Option(help="Copy the run as it was at this checkpoint.", show_default="as it is now")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Copy a run under a new name, with its request ids. Both runs then continue independently.

    ```
    memr runs fork gsm8k-seed0 gsm8k-seed0-warm
    memr runs fork gsm8k-seed0 gsm8k-ablation --checkpoint step-500
    ```
    """
    with connect(url, api_key) as client:
        copy = client.fork(run, new, checkpoint)
    say(f"{new} is a copy of {run} at position {copy.position}.")


@app.command("history")
def show_history(
    run: RunName,
    last: Annotated[int, typer.Option(min=0, help="Number of newest steps to show; 0: all.")] = 20,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per step, with all statistics.")
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Show a run's steps: outcome, reward, and each component's median raw value, mean scaled value and share.

    Scaled values can stay constant while raw values drift, so look at both. `memr watch` follows a run during training.

    ```
    memr runs history gsm8k-seed0
    memr runs history gsm8k-seed0 --last 0 --json > steps.jsonl
    ```
    """
    with connect(url, api_key) as client:
        rows = deque(history.steps(client, run), maxlen=last or None)
    if as_json:
        for row in rows:
            say_json(row.model_dump_json())
    else:
        out.print(history.table(rows))


def _print(info: RunInfo) -> None:
    say_json(info.model_dump_json(indent=2))
