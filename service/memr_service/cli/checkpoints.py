"""`memr runs checkpoint`: names for positions of a run's history."""

from __future__ import annotations

from typing import Annotated

import typer
from memr_client import RewardClient
from rich.table import Table

from memr_service.cli.options import HERE, ApiKey, RunName, Url
from memr_service.cli.terminal import out, say

app = typer.Typer(
    name="checkpoint", no_args_is_help=True, help="Name, list and forget positions that a run can be brought back to."
)

CheckpointName = Annotated[str, typer.Argument(metavar="NAME", help="The checkpoint's name.")]


@app.command()
def create(
    run: RunName,
    name: CheckpointName,
    step: Annotated[int | None, typer.Option(help="The trainer's step, to be shown beside the name.")] = None,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Name the run's present position. Instant, whatever the run's size: nothing is copied. A name that exists moves.

    ```
    memr runs checkpoint create gsm8k-seed0 step-500
    memr runs checkpoint create gsm8k-seed0 best --step 1200
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        made = client.create_checkpoint(run, name, step)
    say(f"{made.name} is position {made.position} of branch {made.branch} of {run}.")


@app.command("list")
def list_checkpoints(run: RunName, url: Url = HERE, api_key: ApiKey = None) -> None:
    """List the run's checkpoints on all its branches, the oldest first.

    ```
    memr runs checkpoint list gsm8k-seed0
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        checkpoints = client.checkpoints(run)
    table = Table("checkpoint", caption=None if checkpoints else "None yet: memr runs checkpoint create makes one.")
    for heading in ("step", "branch", "position"):
        table.add_column(heading, justify="right")
    table.add_column("created")
    for one in checkpoints:
        step = "-" if one.step is None else str(one.step)
        table.add_row(one.name, step, str(one.branch), str(one.position), one.created_at)
    out.print(table)


@app.command()
def delete(run: RunName, name: CheckpointName, url: Url = HERE, api_key: ApiKey = None) -> None:
    """Forget a checkpoint's name. The history it named stays.

    ```
    memr runs checkpoint delete gsm8k-seed0 step-500
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        client.delete_checkpoint(run, name)
    say(f"Forgot {name} of {run}.")
