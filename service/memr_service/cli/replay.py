"""`memr replay` and `memr verify`: a run's journal scored again, under other settings or under its own."""

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
from memr_service.cli.options import HERE, ApiKey, RunName, Url
from memr_service.cli.terminal import out, progress, say

Data = Annotated[
    Path | None,
    typer.Option(help="A store's folder, in place of a server (which must not be serving it).", show_default=False),
]
Settings = Sequence[dict[str, Any]]


def replay(
    run: RunName,
    k: Annotated[str, typer.Option(help="Nearest prompts to read from; several with commas: 1,5,20.")] = "",
    preset: Annotated[str, typer.Option(help="Presets to start from, with commas, in place of the run's own.")] = "",
    config: Annotated[
        Path | None, typer.Option(help="JSON file with any other RunConfig fields; a list of them is a sweep.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the sweep into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    data: Data = None,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """What the completions of a run would have been paid under other settings. No encoder, no training, no change.

    The run's journal holds what was scored: embeddings, outcomes, groups. It is scored again from its beginning, once
    for each setting, and the rewards are set beside those that were paid. What the policy would have written under
    other rewards nobody knows: a replay says how settings judge the completions that there are.

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


def verify(run: RunName, data: Data = None, url: Url = HERE, api_key: ApiKey = None) -> None:
    """Score a run's journal again under its own config: every reward must come out as it was paid, to the last bit.

    Each record's checksum and chain are checked as well. Exit status 1, and the first difference, where that fails.

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
    where = own.difference
    item = "" if where.item is None else f", item {where.item}"
    say(f"{run}: record {where.position}{item} is not reproduced.")
    say(f"{where.field}: recorded {where.recorded!r}, scored again {where.replayed!r}.")
    raise typer.Exit(1)


def table(result: ReplayResult, labels: Sequence[str]) -> Table:
    """One line for what was paid, one for each setting."""
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
        together = [_number(one.correlation), _number(one.correlation_in_groups)]
        shown.add_row(label, *together, *_cells(one.scored, components), f"{one.seconds:.1f}")
    shown.caption = (
        "r: correlation of its rewards with the recorded ones, as they are and minus their group's mean. AUC: how "
        f"often a right completion has more than a wrong one of its group ({result.mixed_groups:,} groups have both). "
        "rejected: completions that a guard turned down."
    )
    return shown


def _settings(k: str, preset: str, config: Path | None) -> Settings:
    """Every combination of what was asked for.

    Raises:
        InvalidRequest: the file cannot be read, or a K is no number.
    """
    try:
        fields = [{}] if config is None else json.loads(config.read_bytes())
        ks = [{"k": int(one)} for one in k.split(",")] if k else [{}]
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            f"cannot read the settings: {error}", remedy='--k 1,5,20 --config {"window": 50}'
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
    """A replay without a server, in this process."""
    from memr_service.engine.run_registry import RunRegistry
    from memr_service.insight.replay.replay import what_if
    from memr_service.insight.replay.worker import compare
    from memr_service.run.live_state import Limits
    from memr_service.store.sqlite import SqliteStore

    if not folder.is_dir():
        raise InvalidRequest(f"there is no folder {folder}.", value=str(folder), remedy="memr serve keeps one.")
    store = SqliteStore(folder, mend=False)
    with closing(store), ThreadPoolExecutor(1) as background, tempfile.TemporaryFile() as file:
        runs = RunRegistry(store, background, Limits(snapshot_bytes=1 << 62))
        if (run := runs.find(run_id)) is None:
            names = [stored.run_id for stored in store.runs.all()]
            raise UnknownRun(f"{folder} has no run {run_id!r}.", value=run_id, limit=names[:20])
        settings = [what_if(run.config, one, bounded=run.base > 0) for one in given]
        file.writelines(runs.archive(run))
        for line in compare(file, run_id, settings, run.state.serial):
            if line.progress is not None:
                advance(line.progress)
            if line.result is not None:
                return line.result
    raise AssertionError("a replay ends with its result")


def _cells(scored: Scored, components: Sequence[str]) -> list[str]:
    cells = _quantity(scored.reward)
    for name in components:
        cells += _quantity(scored.raw.get(name))
    return [*cells, f"{scored.rejected_share:.1%}"]


def _quantity(one: Quantity | None) -> list[str]:
    return ["-"] * 3 if one is None else [_number(one.mean), _number(one.std), _number(one.auc)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
