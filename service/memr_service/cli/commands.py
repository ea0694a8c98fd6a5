"""The commands of `memr`. A command's docstring is its help text."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from memr_client import RewardClient
from memr_client.columns import checked
from memr_client.errors import InvalidRequest, MemrError
from pydantic import ValidationError

from memr_service.cli import runs, terminal
from memr_service.cli.calibrate import calibrate
from memr_service.cli.explain import explain
from memr_service.cli.options import DeviceName, EncoderName, default, given, home
from memr_service.cli.plan import plan
from memr_service.cli.replay import replay, verify
from memr_service.cli.report import report
from memr_service.cli.score import score
from memr_service.cli.suspects import suspects
from memr_service.cli.terminal import err, out, say
from memr_service.cli.watch import watch
from memr_service.settings import load

app = typer.Typer(
    name="memr",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(runs.app, name="runs")
for command in (score, watch, calibrate, plan, suspects, explain, replay, verify, report):
    app.command()(command)


def run() -> None:
    """Run the command line, then exit: 0 done, 1 could not be done, 2 wrongly called."""
    terminal.prepare()
    failed: OSError | None = None
    status: Any = 0
    try:
        app(prog_name="memr")
    except SystemExit as ended:
        status = ended.code
    except (MemrError, ValidationError) as error:
        status = 1
        with suppress(OSError):
            terminal.show_error(error)
    except OSError as error:
        failed = error
    sys.exit(terminal.finish(failed) or status)


def _version(asked: bool) -> None:
    if asked:
        say(f"memr {version('memr')}")
        raise typer.Exit


@app.callback()
def memr(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Episodic-memory rewards for RL post-training of language models (Memory-R+).

    ```
    memr demo                      show the rewards of real completions
    memr score rollouts.jsonl      compute rewards for your logged rollouts
    memr serve                     serve rewards to a trainer over HTTP
    memr watch RUN --to wandb      send a run's statistics to a tracker
    memr calibrate RUN             propose limits for guards, from a run
    memr plan RUN --n 64           pick the prompts to sample next, from outcomes so far
    memr suspects RUN              find labels and verdicts that are likely wrong
    memr explain RUN ...           explain one reward
    memr replay RUN --k 1,5,20     compute a run's rewards under other settings
    memr verify RUN                check that the journal reproduces its rewards
    memr report RUN                write a page: is the run collapsing?
    memr runs list                 show the runs of a server
    memr key --name alice          make an API key
    memr doctor                    check that everything needed is installed
    ```

    `memr COMMAND --help` explains a command, with examples.
    """


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=default("host"))] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default=default("port"))] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Where runs are stored: sqlite:///DIR (a folder); redis://HOST:6379/0 (Redis or Valkey, which several "
            "servers share); memory: (lost when the server stops).",
            show_default=default("store"),
        ),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Serve other machines without API keys: every caller has full access."),
    ] = None,
    keys_file: Annotated[
        Path | None, typer.Option(help="JSON file of API keys; `memr key` makes its entries.", callback=home)
    ] = None,
    encoder: EncoderName = None,
    device: DeviceName = None,
) -> None:
    """Serve rewards over HTTP.

    All other settings are environment variables: MEMR_ and the setting's name, for example MEMR_MAX_QUEUE_TEXTS. The
    page docs/reference/settings.md lists them. An option counts more than its variable.

    ```
    memr serve
    memr serve --store sqlite:////var/lib/memr --port 9000
    memr serve --store redis://redis-host:6379/0
    memr serve --host 0.0.0.0 --keys-file keys.json
    ```
    """
    from memr_service.app.server import serve as serve_until_stopped

    options = given(
        host=host, port=port, store=store, insecure=insecure, keys_file=keys_file, encoder=encoder, device=device
    )
    serve_until_stopped(load(**options))


@app.command()
def demo(encoder: EncoderName = None, device: DeviceName = None) -> None:
    """Score real completions in this process and explain their rewards.

    ```
    memr demo
    memr demo --encoder hashed
    ```
    """
    from memr_service.cli.demo import play

    with RewardClient.embedded(**given(encoder=encoder, device=device)) as client:
        play(client, out)


@app.command()
def doctor(encoder: EncoderName = None, device: DeviceName = None) -> None:
    """Check the installation: packages, model, a reward. Shows how fast this machine is. Exit status 1 on a problem.

    ```
    memr doctor
    memr doctor --encoder sentence-transformers/all-mpnet-base-v2
    ```
    """
    from memr_service.cli.doctor import examine

    raise typer.Exit(0 if examine(load(**given(encoder=encoder, device=device)), out) else 1)


@app.command()
def key(
    name: Annotated[str, typer.Option(help="Name of the key's owner; the server's log shows it.")],
    scope: Annotated[
        Literal["read", "write", "admin"],
        typer.Option(help="read: read runs; write: also create runs and score completions; admin: also delete runs."),
    ] = "write",
    runs: Annotated[str, typer.Option(help="Allow only runs whose names start with this.")] = "",
) -> None:
    """Make an API key. The key is shown once; the server's keys file holds only its digest.

    ```
    memr key --name trainer
    memr key --name alice --scope write --runs alice-
    ```
    """
    from memr_service.app.auth import Key

    secret = "memr_" + secrets.token_urlsafe(32)
    entry = {"name": name, "scope": scope, "sha256": hashlib.sha256(secret.encode()).hexdigest(), "runs": runs}
    checked(Key, **entry)
    if not re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})?", runs):
        raise InvalidRequest(
            f"no run's name starts with {runs!r}.",
            value=runs,
            limit="a letter or digit, then letters, digits, dots, underscores or hyphens",
            remedy="Correct --runs.",
        )
    err.print("The key, which its owner sets as MEMR_API_KEY. It is not shown again:")
    print(secret)
    err.print("Its entry for the JSON list in the server's keys file (memr serve --keys-file):")
    print(json.dumps(entry))
