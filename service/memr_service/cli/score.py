"""`memr score`: rewards for logged rollouts, without a server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from memr_client import RewardClient
from memr_client.columns import checked
from memr_client.errors import InvalidRequest
from memr_client.schemas import RunConfig

from memr_service.cli import output, rollouts, rows, scoring, summary
from memr_service.cli.options import DeviceName, EncoderName, default, given, home, known_preset, read_json
from memr_service.cli.rollouts import GroupBy
from memr_service.cli.terminal import out, progress
from memr_service.encoder import Encoders
from memr_service.settings import load


def score(
    file: Annotated[
        Path,
        typer.Argument(
            help="Rollouts, one JSON object per line; - reads standard input.", metavar="FILE.jsonl", callback=home
        ),
    ],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="Write all rewards and components to this .jsonl or .parquet file.", callback=home),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Preset that unset fields come from; `--presets` compares several.",
            show_default=default("default_preset"),
        ),
    ] = None,
    presets: Annotated[
        str | None,
        typer.Option(
            help="Presets to compare, separated by commas, or `all`.",
            show_default="all that fit, unless --preset names one",
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(help="Number of nearest prompts whose completions are read.", show_default="the preset's"),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file with other RunConfig fields.", callback=home)] = None,
    encoder: EncoderName = None,
    device: DeviceName = None,
    group_by: Annotated[
        GroupBy, typer.Option(help="Score consecutive lines of one prompt together, or of one step.")
    ] = "prompt",
) -> None:
    """Compute rewards for logged rollouts, in the order of the file. Needs no server and stores nothing.

    A line is {"prompt": ..., "completion": ..., "outcome": ...}. `outcome` is your verifier's reward; texts are strings
    or chat messages. "step", "prompt_id" and "group_id" are optional. A JSON list of such objects and a Parquet file
    with these columns are read, too; a file may be compressed with gzip.

    The first table compares the rewards of right and wrong completions, so you can judge them before a training run.
    The second table compares the presets.

    ```
    memr score rollouts.jsonl
    memr score rollouts.jsonl --presets memory-r+,memory-r,random
    memr score rollouts.jsonl --out rewards.parquet --k 20
    memr score rollouts.jsonl --preset official-memory-r+ --group-by step
    zstdcat rollouts.jsonl.zst | memr score -
    ```
    """
    run_config = _read_config(config, **given(preset=None if preset is None else known_preset(preset), k=k))
    if out_file is not None:
        output.check(out_file, file)
    machine = given(encoder=encoder or run_config.encoder, device=device)
    settings = load(**machine)
    compared, unfit = scoring.presets(run_config, presets, settings.encoder)
    with rows.rereadable(file) as path:
        # All lines are checked before the first is scored, so that a bad one does not end hours of work.
        total = sum(1 for _ in rollouts.read(path, str(file)))
        if total == 0:
            raise InvalidRequest(f"{file} has no rollouts.", value=str(file), remedy=rollouts.REMEDY)
        with RewardClient.embedded(**machine) as client, output.writing(out_file) as write, progress() as bar:
            runs = {f"score-{number}": one for number, one in enumerate([run_config, *compared.values()])}
            for run_id, one in runs.items():
                client.create_run(run_id, one)
            task = bar.add_task("scoring", total=total)
            requests = rollouts.requests(rollouts.read(path, str(file)), group_by)
            encoders = Encoders(settings.allowed_encoders, settings.device)
            done, *others = scoring.score(client, encoders, list(runs), requests, write, partial(bar.advance, task))
    out.print(summary.table(done.summary_lines(), done.config.preset))
    if others:
        lines = [one.preset_line(name) for name, one in zip(compared, others, strict=True)]
        out.print(summary.comparison(done.outcome_line(), lines))
    for remark in [*done.remarks(), *unfit]:
        out.print(f"- {remark}", highlight=False, markup=False)


def _read_config(path: Path | None, **fields: Any) -> RunConfig:
    """The `RunConfig` of a JSON file, with `fields` on top.

    Raises:
        InvalidRequest: the file cannot be read, is not a JSON object, or a field is wrong.
    """
    in_file = {} if path is None else read_json(path, 'an object such as {"k": 20}')
    if not isinstance(in_file, dict):
        raise InvalidRequest(f"{path} is not a JSON object.", remedy='Write an object such as {"k": 20}.')
    return checked(RunConfig, **in_file | fields)
