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
from memr_client import RewardClient
from memr_client.errors import InvalidRequest, UnknownRun
from memr_client.schemas import Quantity, ReplayProgress, ReplayResult, RunConfig, Scored
from rich.table import Table

from memr_service.cli import figures
from memr_service.cli.options import DEFAULT_URL, ApiKey, RunName, Url
from memr_service.cli.terminal import out, progress, say

StoreFolder = Annotated[
    Path | None,
    typer.Option(help="Read the run from this store's folder instead of a server.", show_default=False),
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
        Path | None, typer.Option(help="JSON file with other RunConfig fields: one object, or a list of them.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the comparison into this PNG file.")] = None,
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
    result = _replayed(run, settings, data, url, api_key)
    labels = [_label(one) for one in settings]
    if as_json:
        print(result.model_dump_json(indent=2))
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


def table(result: ReplayResult, labels: Sequence[str]) -> Table:
    """One line for the recorded rewards and one for each setting."""
    shown = Table("setting", title=f"{result.run_id}: {result.completions:,} completions, {result.groups:,} groups")
    scored = [result.recorded, *(one.scored for one in result.settings)]
    components = list(dict.fromkeys(name for one in scored for name in one.raw))
    for heading in ("r", "r in\ngroups", "reward\nmean", "sd", "AUC"):
        shown.add_column(heading, justify="right")
    for name in components:
        for heading in (f"{name}\nraw", "sd", "AUC"):
            shown.add_column(heading, justify="right")
    for heading in ("rejected", "s"):
        shown.add_column(heading, justify="right")
    shown.add_row("as recorded", "", "", *_cells(result.recorded, components), "")
    for label, one in zip(labels, result.settings, strict=True):
        correlations = [_number(one.correlation), _number(one.correlation_in_groups)]
        shown.add_row(label, *correlations, *_cells(one.scored, components), f"{one.seconds:.1f}")
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
    try:
        fields = [{}] if config is None else json.loads(config.read_bytes())
        ks = [{"k": int(one)} for one in k.split(",")] if k else [{}]
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            f"cannot read the settings: {error}",
            remedy='Give --k as numbers (1,5,20) and --config as a file such as {"window": 50}.',
        ) from None
    presets = [{"preset": one.strip()} for one in preset.split(",")] if preset else [{}]
    given = fields if isinstance(fields, list) else [fields]
    return [{**a, **b, **c} for a, b, c in product(given, presets, ks)]


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
            return _from_folder(data, run_id, [RunConfig(**one) for one in settings], advance)
        with RewardClient(url, api_key=api_key, retries=0) as client:
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
        settings = [what_if(run.config, one, bounded=run.journal.base > 0) for one in given]
        file.writelines(RunCopies(store, runs).export(run))
        for line in compare(file, run_id, settings, run.state.serial):
            if line.progress is not None:
                advance(line.progress)
            if line.result is not None:
                return line.result
    raise AssertionError("a replay's last line is its result")


def _cells(scored: Scored, components: Sequence[str]) -> list[str]:
    cells = _quantity(scored.reward)
    for name in components:
        cells += _quantity(scored.raw.get(name))
    return [*cells, f"{scored.rejected_share:.1%}"]


def _quantity(one: Quantity | None) -> list[str]:
    return ["-"] * 3 if one is None else [_number(one.mean), _number(one.std), _number(one.auc)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
