"""`memr replay` and `memr verify`: score a run's journal again, under other settings or under its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
from memr_client.columns import checked
from memr_client.errors import InvalidRequest, UnknownRun
from memr_client.schemas import Quantity, ReplayProgress, ReplayResult, RunConfig

from memr_service.cli import figures
from memr_service.cli.options import (
    DEFAULT_URL,
    ApiKey,
    RunName,
    Url,
    connect,
    home,
    listed_presets,
    read_json,
)
from memr_service.cli.sheet import Sheet
from memr_service.cli.terminal import out, progress, say, say_json

StoreFolder = Annotated[
    Path | None,
    typer.Option(help="Read the run from this store's folder instead of a server.", show_default=False, callback=home),
]
Settings = Sequence[dict[str, Any]]


def replay(
    run: RunName,
    k: Annotated[
        str, typer.Option(help="Number of nearest prompts to read from; several, separated by commas: 1,5,20.")
    ] = "",
    preset: Annotated[
        str, typer.Option(help="Presets, separated by commas, that unset fields come from instead of the run's config.")
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option(help="JSON file with other RunConfig fields: one object, or a list of them.", callback=home),
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the comparison into this PNG file.", callback=home)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
    data: StoreFolder = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Compute the rewards of a run's completions under other settings. Needs no encoder and changes nothing.

    The run's journal holds embeddings, outcomes and groups. It is scored again from the beginning under each setting,
    and the rewards are compared with the recorded ones. Several values of --k, --preset and --config are combined.

    A replay shows how settings judge the existing completions. It cannot show what the policy would have written under
    other rewards.

    ```
    memr replay gsm8k-seed0 --k 1,5,10,20 --figure sweep.png
    memr replay gsm8k-seed0 --preset memory-r+,random,shuffled
    memr replay gsm8k-seed0 --config tighter.json --data memr-data
    ```
    """
    settings = _settings(k, preset, config)
    if figure is not None:
        figures.require_picture(figure)
    result = _replayed(run, settings, data, url, api_key)
    labels = [_label(one) for one in settings]
    if as_json:
        say_json(result.model_dump_json(indent=2))
    else:
        out.print(table(result, labels))
    if figure is not None:
        figures.sweep(result, labels, figure)


def verify(run: RunName, data: StoreFolder = None, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Check a run's journal: score it again under its own config and compare every reward bit for bit.

    The checksum and chain of every record are checked too. Exit status 1 if a check fails; the first difference is
    shown.

    ```
    memr verify gsm8k-seed0
    memr verify gsm8k-seed0 --data memr-data
    ```
    """
    result = _replayed(run, [{}], data, url, api_key)
    (own,) = result.settings
    if own.difference is None:
        records = result.position - result.first_position + 1 if result.position else 0
        say(
            f"{run}: {result.completions:,} completions in {records:,} records, positions {result.first_position} to "
            f"{result.position}, are reproduced bit for bit in {own.seconds:.1f} s. Chain {own.chain}."
        )
        return
    first = own.difference
    item = "" if first.item is None else f", item {first.item}"
    say(f"{run}: record {first.position}{item} is not reproduced.")
    say(f"{first.field}: recorded {first.recorded!r}, replayed {first.replayed!r}.")
    raise typer.Exit(1)


def table(result: ReplayResult, labels: Sequence[str]) -> Sheet:
    """One line for the recorded rewards and one for each setting."""
    shown = Sheet("setting", title=f"{result.run_id}: {result.completions:,} completions, {result.groups:,} groups")
    scored = [result.recorded, *(one.scored for one in result.settings)]
    components = list(dict.fromkeys(name for one in scored for name in one.raw))
    shown.block("r", "r in\ngroups", "reward\nmean", "sd", "AUC")
    for name in components:
        shown.block(f"{name}\nraw", "sd", "AUC")
    shown.block("rejected", "s")
    rows = [("as recorded", result.recorded, ["", ""], "")]
    for label, one in zip(labels, result.settings, strict=True):
        correlations = [_number(one.correlation), _number(one.correlation_in_groups)]
        rows.append((label, one.scored, correlations, f"{one.seconds:.1f}"))
    for label, of, correlations, seconds in rows:
        parts = [_quantity(of.raw.get(name)) for name in components]
        shown.row(label, correlations + _quantity(of.reward), *parts, [f"{of.rejected_share:.1%}", seconds])
    shown.caption = (
        "r: correlation with the recorded rewards; r in groups: the same after each group's mean is subtracted. AUC: "
        "how often a right completion has a higher value than a wrong one of its group "
        f"({result.mixed_groups:,} groups have both). rejected: share of completions that a guard rejected."
    )
    return shown


def _settings(k: str, preset: str, config: Path | None) -> Settings:
    """Every combination of the given values.

    Raises:
        InvalidRequest: the file cannot be read, or a K is not a number.
    """
    example = '{"window": 50}, or a list of such objects'
    fields = {} if config is None else read_json(config, example)
    each = fields if isinstance(fields, list) else [fields]
    if not each or not all(isinstance(one, dict) for one in each):
        raise InvalidRequest(f"{config} has no settings.", value=str(config), remedy=f"Write {example}.")
    try:
        ks = [{"k": int(one)} for one in k.split(",")] if k else [{}]
    except ValueError:
        raise InvalidRequest(
            f"--k {k} is not a list of numbers.",
            value=k,
            limit="numbers, separated by commas",
            remedy="Give --k 1,5,20.",
        ) from None
    presets = [{"preset": one} for one in listed_presets(preset)] or [{}]
    return [{**a, **b, **c} for a, b, c in product(each, presets, ks)]


def _label(setting: dict[str, Any]) -> str:
    named = [value if isinstance(value, str) else f"{name} {json.dumps(value)}" for name, value in setting.items()]
    return ", ".join(named) or "its own config"


def _replayed(run_id: str, settings: Settings, data: Path | None, url: str, api_key: str | None) -> ReplayResult:
    with progress() as bar:
        task = bar.add_task("replaying", total=None)

        def advance(how_far: ReplayProgress) -> None:
            done = how_far.setting * how_far.of + how_far.completions
            bar.update(task, completed=done, total=how_far.settings * how_far.of)

        if data is not None:
            return _from_folder(data, run_id, [checked(RunConfig, **one) for one in settings], advance)
        with connect(url, api_key) as client:
            return client.replay(run_id, settings, advance)


def _from_folder(
    folder: Path, run_id: str, given: Sequence[RunConfig], advance: Callable[[ReplayProgress], None]
) -> ReplayResult:
    """Replay a run of a store's folder in this process."""
    from memr_service.engine.run_copies import RunCopies
    from memr_service.engine.run_registry import RunRegistry
    from memr_service.insight.replay.replay import what_if
    from memr_service.insight.replay.worker import compare
    from memr_service.run.live_state import Limits
    from memr_service.store.sqlite import SqliteStore

    if not folder.is_dir():
        raise InvalidRequest(
            f"there is no folder {folder}.", value=str(folder), remedy="Give the folder of `memr serve --store`."
        )
    store = SqliteStore(folder, mend=False)
    with closing(store), ThreadPoolExecutor(1) as background, tempfile.TemporaryFile() as file:
        runs = RunRegistry(store, background, Limits(snapshot_bytes=1 << 62))
        if (run := runs.find(run_id)) is None:
            names = [stored.run_id for stored in store.runs.all()]
            raise UnknownRun(f"{folder} has no run {run_id!r}.", value=run_id, limit=names[:20])
        settings = [what_if(run.config, one, run.law, bounded=run.journal.base > 0) for one in given]
        file.writelines(RunCopies(store, runs).export(run))
        for line in compare(file, run_id, settings, run.state.serial):
            if line.progress is not None:
                advance(line.progress)
            if line.result is not None:
                return line.result
    raise AssertionError("a replay's last line is its result")


def _quantity(one: Quantity | None) -> list[str]:
    return ["-"] * 3 if one is None else [_number(one.mean), _number(one.std), _number(one.auc)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
