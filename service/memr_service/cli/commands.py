"""The command line. Each command is a few lines around the noun that does the work; its docstring is its help."""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from memr_client import RewardClient
from memr_client.errors import InvalidRequest, MemrError
from memr_client.schemas import PresetName, RunConfig
from pydantic import ValidationError

from memr_service.cli import output, rollouts, runs, summary, terminal
from memr_service.cli import score as scoring
from memr_service.cli.calibrate import calibrate
from memr_service.cli.explain import explain
from memr_service.cli.replay import replay, verify
from memr_service.cli.report import report
from memr_service.cli.rollouts import GroupBy
from memr_service.cli.terminal import err, out
from memr_service.cli.watch import watch
from memr_service.encoder import Encoders
from memr_service.settings import Settings

app = typer.Typer(
    name="memr",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(runs.app, name="runs")
for command in (watch, calibrate, explain, replay, verify, report):
    app.command()(command)

EncoderOption = Annotated[
    str | None,
    typer.Option(help="A sentence-transformers model by name or folder, or `hashed` (no torch, instant, cruder)."),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"] | None,
    typer.Option(help="Where the encoder runs; auto takes the GPU if it has 4 GiB free."),
]


def run() -> None:
    """Run the command line and exit."""
    try:
        app()
    except (MemrError, ValidationError) as error:
        terminal.explain(error)
        sys.exit(1)


@app.callback()
def memr() -> None:
    """Episodic-memory rewards for RL post-training of language models (Memory-R+).

    ```
    memr demo                      see rewards of real completions, now
    memr score rollouts.jsonl      rewards for rollouts you have logged
    memr serve                     rewards over HTTP for a trainer
    memr watch RUN --to wandb      a run's curves, where your others are
    memr calibrate RUN             limits for guards, from a run's own completions
    memr explain RUN ...           why this reward
    memr replay RUN --k 1,5,20     what other settings would have paid
    memr verify RUN                does the journal give the same rewards again?
    memr report RUN                is it collapsing? a page with pictures
    memr doctor                    is everything here that is needed?
    ```
    """


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="8000")] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Where runs are kept: sqlite:///DIR, or memory: for nothing that outlives the server.",
            show_default="sqlite:///memr-data",
        ),
    ] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Serve beyond this machine without keys: everybody may do all.")
    ] = None,
    keys_file: Annotated[Path | None, typer.Option(help="JSON file of API keys, see `memr key`.")] = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
) -> None:
    """Serve rewards over HTTP.

    Everything else is set by environment variables: MEMR_ and the setting's name, such as MEMR_MAX_QUEUE_TEXTS
    (service/memr_service/settings.py lists them).

    ```
    memr serve
    memr serve --store sqlite:////var/lib/memr --port 9000
    memr serve --host 0.0.0.0 --keys-file keys.json
    ```
    """
    from memr_service.app.server import serve as serve_until_stopped

    named = given(
        host=host, port=port, store=store, insecure=insecure, keys_file=keys_file, encoder=encoder, device=device
    )
    serve_until_stopped(Settings(**named))


@app.command()
def demo(encoder: EncoderOption = None, device: DeviceOption = None) -> None:
    """Play real completions through the service, in this process, and show what they are paid and why.

    ```
    memr demo
    memr demo --encoder hashed
    ```
    """
    from memr_service.cli.demo import play

    with RewardClient.embedded(**given(encoder=encoder, device=device)) as client:
        play(client, out)


@app.command()
def doctor(encoder: EncoderOption = None, device: DeviceOption = None) -> None:
    """Tell what is installed, which model is found, and how fast this machine is; exit 1 when something is missing.

    ```
    memr doctor
    memr doctor --encoder sentence-transformers/all-mpnet-base-v2
    ```
    """
    from memr_service.cli.doctor import examine

    raise typer.Exit(0 if examine(Settings(**given(encoder=encoder, device=device)), out) else 1)


@app.command()
def key(
    name: Annotated[str, typer.Option(help="Who gets it; shown in the server's log.")],
    scope: Annotated[
        Literal["read", "write", "admin"],
        typer.Option(help="read: look; write: also send batches and make runs; admin: also delete runs."),
    ] = "write",
    runs: Annotated[str, typer.Option(help="Only runs whose name starts with this.")] = "",
) -> None:
    """Make an API key. It is shown once; the server's keys file gets its digest only.

    ```
    memr key --name trainer
    memr key --name alice --scope write --runs alice-
    ```
    """
    secret = "memr_" + secrets.token_urlsafe(32)
    entry = {"name": name, "scope": scope, "sha256": hashlib.sha256(secret.encode()).hexdigest(), "runs": runs}
    err.print("The key, for MEMR_API_KEY of its owner. It is not shown again:")
    print(secret)
    err.print("Its entry, for the JSON list in the server's keys file (memr serve --keys-file):")
    print(json.dumps(entry))


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="Rollouts, one JSON object per line.", metavar="FILE.jsonl")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write every reward and component here, .jsonl or .parquet.")
    ] = None,
    preset: Annotated[
        PresetName | None, typer.Option(help="The named settings to start from.", show_default="memory-r+")
    ] = None,
    presets: Annotated[
        str | None,
        typer.Option(
            help="Presets to set side by side, with commas between.",
            show_default="all that fit, unless --preset names one",
        ),
    ] = None,
    k: Annotated[int | None, typer.Option(help="How many nearest prompts to read from.", show_default="1")] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file with any other RunConfig fields.")] = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    group_by: Annotated[
        GroupBy, typer.Option(help="What is scored together: consecutive lines of one prompt, or of one step.")
    ] = "prompt",
) -> None:
    """Rewards for rollouts you have logged, in the order of the file. Needs no server and leaves nothing behind.

    A line is {"prompt": ..., "completion": ..., "outcome": ...}, where outcome is what your verifier gave and the
    texts are strings or chat messages; "step", "prompt_id" and "group_id" are used where present. The summary tells
    how the rewards of right and wrong completions differ before you spend a training run on them; a second table, what
    each preset would pay whom.

    ```
    memr score rollouts.jsonl
    memr score rollouts.jsonl --presets memory-r+,memory-r,random
    memr score rollouts.jsonl --out rewards.parquet --k 20
    memr score rollouts.jsonl --preset official-memory-r+ --group-by step
    ```
    """
    run_config = read_config(config, **given(preset=preset, k=k))
    if out_file is not None:
        output.check(out_file, file)
    # Every line is looked at before the first is scored: a bad one should not end hours of work.
    total = sum(1 for _ in rollouts.read(file))
    if total == 0:
        raise InvalidRequest(f"{file} holds no rollouts.", remedy=rollouts.REMEDY)
    machine = given(encoder=encoder or run_config.encoder, device=device)
    settings = Settings(**machine)
    compared, unfit = scoring.presets(run_config, presets, settings.encoder)
    with RewardClient.embedded(**machine) as client, output.writing(out_file) as write, terminal.progress() as progress:
        runs = {f"score-{number}": one for number, one in enumerate([run_config, *compared.values()])}
        for run_id, one in runs.items():
            client.create_run(run_id, one)
        task = progress.add_task("scoring", total=total)
        requests = rollouts.requests(rollouts.read(file), group_by)
        encoders = Encoders(settings.allowed_encoders, settings.device)
        done, *others = scoring.score(client, encoders, list(runs), requests, write, partial(progress.advance, task))
    out.print(summary.table(done.quantities()))
    if others:
        verdicts = [one.verdict(name) for name, one in zip(compared, others, strict=True)]
        out.print(summary.comparison(done.verifier(), verdicts))
    for remark in [*done.remarks(), *unfit]:
        out.print(f"- {remark}", highlight=False, markup=False)


def given(**options: Any) -> dict[str, Any]:
    """The options that were given; the others are left to the environment and the defaults."""
    return {name: value for name, value in options.items() if value is not None}


def read_config(path: Path | None, **fields: Any) -> RunConfig:
    """The `RunConfig` of a JSON file, with `fields` on top.

    Raises:
        InvalidRequest: no such file, or not a JSON object. ValidationError: a field is wrong.
    """
    in_file: Any = {}
    if path is not None:
        try:
            in_file = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"cannot read a config from {path}: {error}", value=str(path)) from error
        if not isinstance(in_file, dict):
            raise InvalidRequest(f"{path} is not a JSON object.", remedy='Write one such as {"k": 20}.')
    return RunConfig(**in_file | fields)
