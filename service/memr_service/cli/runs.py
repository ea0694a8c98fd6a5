"""`memr runs`: look after the runs of a server, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from memr_client import RewardClient
from memr_client.schemas import RunInfo
from rich.table import Table

from memr_service.cli.terminal import out

app = typer.Typer(name="runs", no_args_is_help=True, help="List, show, delete, export and import a server's runs.")

Url = Annotated[str, typer.Option(help="Where the server listens.", envvar="MEMR_URL")]
ApiKey = Annotated[
    str | None, typer.Option(help="A key of the server, where it has keys.", envvar="MEMR_API_KEY", show_default=False)
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]

HERE = "http://127.0.0.1:8000"


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
    out.print(f"Deleted {run}.", highlight=False, markup=False)


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
    out.print(f"Wrote {run} to {file} ({file.stat().st_size:,} bytes).", highlight=False, markup=False, soft_wrap=True)


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


def _print(info: RunInfo) -> None:
    print(info.model_dump_json(indent=2))
