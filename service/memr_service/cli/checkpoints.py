"""`memr runs checkpoint`: names positions in a run's history."""

from __future__ import annotations

from typing import Annotated

import typer

from memr_service.cli.options import DEFAULT_URL, ApiKey, RunName, Url, connect
from memr_service.cli.sheet import Sheet
from memr_service.cli.terminal import minute, out, say

app = typer.Typer(
    name="checkpoint", no_args_is_help=True, help="Create, list and delete checkpoints, which a run can be restored to."
)

CheckpointName = Annotated[str, typer.Argument(metavar="NAME", help="The checkpoint's name.")]


@app.command()
def create(
    run: RunName,
    name: CheckpointName,
    step: Annotated[int | None, typer.Option(help="The trainer's step; shown in the list.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Create a checkpoint of the run's current position. Nothing is copied. An existing one of this name moves.

    ```
    memr runs checkpoint create gsm8k-seed0 step-500
    memr runs checkpoint create gsm8k-seed0 best --step 1200
    ```
    """
    with connect(url, api_key) as client:
        made = client.create_checkpoint(run, name, step)
    say(f"Checkpoint {made.name} of {run} is position {made.position} on branch {made.branch}.")


@app.command("list")
def list_checkpoints(run: RunName, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """List the run's checkpoints on all branches, oldest first.

    ```
    memr runs checkpoint list gsm8k-seed0
    ```
    """
    with connect(url, api_key) as client:
        checkpoints = client.checkpoints(run)
    caption = None if checkpoints else "No checkpoints yet: memr runs checkpoint create makes one."
    table = Sheet("checkpoint", caption=caption)
    table.block("step", "branch", "position")
    table.block("created (UTC)")
    for one in checkpoints:
        step = "-" if one.step is None else str(one.step)
        table.row(one.name, [step, str(one.branch), str(one.position)], [minute(one.created_at)])
    out.print(table)


@app.command()
def delete(run: RunName, name: CheckpointName, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Delete a checkpoint. The run's records stay.

    ```
    memr runs checkpoint delete gsm8k-seed0 step-500
    ```
    """
    with connect(url, api_key) as client:
        client.delete_checkpoint(run, name)
    say(f"Deleted checkpoint {name} of {run}.")
