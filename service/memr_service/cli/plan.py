"""`memr plan`: which prompts to sample next, and how well a run's pass rates foresaw its groups."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from memr_client import RewardClient
from memr_client.errors import InvalidRequest, TooLarge, UnknownRun
from memr_client.schemas import Objective, Plan, PoolInfo

from memr_service.cli import backtest, counts, dataset, rows
from memr_service.cli.dataset import DataSet
from memr_service.cli.options import DEFAULT_URL, ApiKey, RunName, Url, connect, given, home
from memr_service.cli.sheet import Sheet
from memr_service.cli.terminal import out, progress, remark, say, say_json
from memr_service.engine.planner import pool_of

PICKS = 64
"""Prompts that are picked if no number is given."""
GROUP_SIZE = 8
"""Completions of a group, if neither the call nor the run names a number."""
LIMIT = 0.9
"""The probability of equal outcomes from which on a prompt is dropped, if none is given."""
AT_ONCE = 20_000
"""Prompts in one request, where the spread of all is asked for."""


def plan(
    run: RunName,
    n: Annotated[
        int | None,
        typer.Option("--n", help="How many prompts to pick.", show_default=f"{PICKS}, or all", metavar="N"),
    ] = None,
    group_size: Annotated[
        int | None,
        typer.Option(help="Completions of a group.", show_default=f"the run's group_size, else {GROUP_SIZE}"),
    ] = None,
    objective: Annotated[
        Objective | None,
        typer.Option(help="What to make large; docs/reference/http-api.md explains them.", show_default="spread"),
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="The step that is planned.", show_default="the one after the newest")
    ] = None,
    position: Annotated[
        int | None,
        typer.Option(help="Plan with what was known after this record, one of the last 64.", show_default="the newest"),
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(
            help="Data set to pick from, JSON lines or Parquet; - reads standard input.",
            show_default="the run's pool",
            callback=home,
        ),
    ] = None,
    id_field: Annotated[
        str | None,
        typer.Option(
            help="Field with the ids that your trainer sends as prompt_ids; `extra_info.index` is inside `extra_info`.",
            show_default="prompt_id or id; without either, prompts are known by their text",
        ),
    ] = None,
    prompt_field: Annotated[
        str | None, typer.Option(help="Field with the prompt's text.", show_default="prompt or question")
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the picked rows, unchanged, to this file.", callback=home)
    ] = None,
    drop_retired: Annotated[
        bool,
        typer.Option(
            "--drop-retired",
            help="Write all rows but those of prompts whose groups teach nothing, see --limit.",
        ),
    ] = False,
    limit: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            max=1,
            help="Drop prompts whose outcomes are all equal with this probability or more.",
            show_default=f"{LIMIT}",
        ),
    ] = None,
    set_pool: Annotated[
        bool, typer.Option("--set-pool", help="Let the data set be the run's pool, if the run has none.")
    ] = False,
    prior: Annotated[
        Path | None,
        typer.Option(help="Let a run without completions start from the counts of this file.", callback=home),
    ] = None,
    test: Annotated[
        bool, typer.Option("--backtest", help="Show how well the run's pass rates foresaw its own groups.")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the backtest's calibration into this PNG file.", callback=home)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Pick the prompts whose groups are most likely to teach something: neither solved nor out of reach.

    With `--pool` and `--out` it writes the next data set, for trainers that read one. `--backtest` shows, on a run that
    exists, how well this would have worked. Only `--set-pool` and `--prior` change the run.

    A file of `--prior` has lines such as {"prompt": "2 + 2 = ?", "right": 3, "n": 4}, of an evaluation for example;
    "prompt_id" may stand beside or in place of "prompt". The run is created if there is none.

    ```
    memr plan gsm8k-seed0 --backtest --figure backtest.png
    memr plan gsm8k-seed0 --n 64 --group-size 16
    memr plan gsm8k-seed0 --pool train.jsonl --n 2000 --out next.jsonl
    memr plan gsm8k-seed0 --pool train.parquet --drop-retired --out alive.parquet
    memr plan gsm8k-seed1 --prior evaluation.jsonl
    ```
    """
    _check(
        locals(),
        [
            ("test", "--backtest", ("figure", "as_json")),
            ("prior", "--prior", ()),
            ("drop_retired", "--drop-retired", ("pool", "out_file", "as_json", "limit", *OF_PLANS, *OF_POOLS)),
        ],
    )
    with connect(url, api_key) as client:
        if test:
            backtest.show(client, run, figure, as_json)
        elif prior is not None:
            _start(client, run, prior)
        else:
            size = group_size
            if size is None:
                size = client.run(run).config.group_size or GROUP_SIZE
            asked = _Asked(run, size, given(step=step, position=position, objective=objective))
            if pool is None:
                prompts = _prompts_in_pool(client, run)
                _show(client.plan(run, min(PICKS, prompts) if n is None else n, size, **asked.fields), run, as_json)
            else:
                with rows.rereadable(pool) as path:
                    data = dataset.read(path, str(pool), id_field, prompt_field)
                    if out_file is not None:
                        data.check_output(out_file)
                    info = client.pool(run)
                    if set_pool and not info.prompts:
                        info = client.set_pool(run, data.names, data.texts)
                    if drop_retired and out_file is not None:
                        _drop_retired(client, asked, data, limit or LIMIT, out_file, as_json)
                    else:
                        picks = min(PICKS, len(data.prompts)) if n is None else n
                        _pick(client, asked, data, info, picks, out_file, as_json)


OF_PLANS = ("group_size", "step", "position")
OF_POOLS = ("id_field", "prompt_field", "set_pool")
NAMES = {"test": "--backtest", "out_file": "--out", "as_json": "--json"}
"""Parameter -> its option, where that is named otherwise."""


@dataclass(frozen=True)
class _Asked:
    """What to plan for."""

    run: str
    group_size: int
    fields: dict[str, Any]


def _check(options: dict[str, Any], modes: list[tuple[str, str, tuple[str, ...]]]) -> None:
    """Refuse options that do not go together.

    Raises:
        InvalidRequest: the message names them.
    """
    ignored = ("run", "url", "api_key")
    named = [one for one, value in options.items() if one not in ignored and value is not None and value is not False]
    for mode, option, allowed in modes:
        if mode in named:
            other = next((one for one in named if one != mode and one not in allowed), None)
            if other is not None:
                raise InvalidRequest(f"{option} does not go with {_option(other)}.", remedy="Leave one of them out.")
            break
    else:
        if "figure" in named:
            raise InvalidRequest("--figure draws a backtest.", remedy="Add --backtest.")
    if "limit" in named and "drop_retired" not in named:
        raise InvalidRequest("--limit is about prompts to drop.", remedy="Add --drop-retired.")
    if "pool" not in named:
        other = next((one for one in named if one in ("out_file", "drop_retired", *OF_POOLS)), None)
        if other is not None:
            raise InvalidRequest(
                f"{_option(other)} is about a data set.", remedy="Name it: --pool train.jsonl, for example."
            )
    if "drop_retired" in named and "out_file" not in named:
        raise InvalidRequest("--drop-retired writes a file.", remedy="Name it: --out alive.jsonl, for example.")
    if "out_file" in named and not {"n", "drop_retired"} & {*named}:
        raise InvalidRequest(
            "--out needs to know which rows to write.", remedy="Say how many, --n 2000, or add --drop-retired."
        )


def _option(parameter: str) -> str:
    return NAMES.get(parameter) or f"--{parameter.replace('_', '-')}"


def _prompts_in_pool(client: RewardClient, run: str) -> int:
    """How many prompts the run's pool has.

    Raises:
        InvalidRequest: it has no pool.
    """
    if not (prompts := client.pool(run).prompts):
        raise InvalidRequest(
            f"run {run!r} has no pool.",
            remedy="Name a data set, for example --pool train.jsonl; with --set-pool it becomes the run's pool.",
        )
    return prompts


def _start(client: RewardClient, run: str, prior: Path) -> None:
    """Let a run start from the counts of a file; one that does not exist is created."""
    with rows.rereadable(prior) as path:
        found = counts.read(path, str(prior))
    try:
        client.run(run)
    except UnknownRun:
        client.create_run(run)
        say(f"Created the run {run} with the server's default preset.")
    client.add_prior(run, found.right, found.n, prompt_ids=found.prompt_ids or None, prompts=found.prompts or None)
    said = f"{sum(found.right):,.10g} of {sum(found.n):,.10g} completions right"
    say(f"{run} starts from the counts of {len(found.n):,} prompts: {said}.")


def _pick(
    client: RewardClient,
    asked: _Asked,
    data: DataSet,
    pool: PoolInfo,
    n: int,
    out_file: Path | None,
    as_json: bool,
) -> None:
    if pool.digest == pool_of(data.names, data.texts).digest():
        found = client.plan(asked.run, n, asked.group_size, **asked.fields)
    else:
        found = _planned(client, asked, n, data.names, data.texts)
    if out_file is None:
        _show(found, asked.run, as_json)
        return
    numbers = data.rows_of([one.prompt_id for one in found.picks])
    data.write(out_file, numbers)
    if as_json:
        say_json(found.model_dump_json(indent=2))
        return
    total = sum(len(one.rows) for one in data.prompts)
    say(f"Wrote {len(numbers):,} of {total:,} rows to {out_file}, the best first.")
    say(_summary(found))
    _warn_if_unknown(found.known, data.has_ids)


def _drop_retired(
    client: RewardClient, asked: _Asked, data: DataSet, limit: float, out_file: Path, as_json: bool
) -> None:
    gone: set[str] = set()
    retired = {"solved": 0, "impossible": 0}
    known, fields = 0, asked.fields
    with progress() as bar:
        task = bar.add_task("planning", total=len(data.prompts))
        for start in range(0, len(data.prompts), AT_ONCE):
            of = slice(start, start + AT_ONCE)
            names, texts = data.names[of], None if data.texts is None else data.texts[of]
            found = _planned(client, _Asked(asked.run, asked.group_size, fields), len(names), names, texts)
            fields = fields | {"position": found.position, "step": found.step}  # the same for all
            for one in found.picks:
                if one.source != "none" and 1 - one.spread >= limit:
                    gone.add(one.prompt_id)
                    retired["solved" if one.p > 0.5 else "impossible"] += 1
            known += found.known
            bar.advance(task, len(names))
    numbers = sorted(data.rows_of([name for name in data.names if name not in gone]))
    data.write(out_file, numbers)
    total = sum(len(one.rows) for one in data.prompts)
    if as_json:
        say_json(json.dumps({"rows": total, "written": len(numbers), "known": known, "retired": retired}, indent=2))
        return
    say(f"Wrote {len(numbers):,} of {total:,} rows to {out_file}, in their order.")
    say(
        f"The run knows {known:,} of {len(data.prompts):,} prompts. Left out: {retired['solved']:,} solved, "
        f"{retired['impossible']:,} impossible."
    )
    _warn_if_unknown(known, data.has_ids)


def _planned(client: RewardClient, asked: _Asked, n: int, names: list[str], texts: list[Any] | None) -> Plan:
    """A plan of some candidates.

    Raises:
        InvalidRequest: they do not fit into a request.
    """
    try:
        return client.plan(asked.run, n, asked.group_size, candidates=names, prompts=texts, **asked.fields)
    except TooLarge as error:
        raise InvalidRequest(
            f"the data set does not fit into one request: {error.detail}",
            limit=error.limit,
            remedy="Let it be the run's pool, which is sent in parts: --set-pool, if the run has no other pool.",
        ) from error


def _warn_if_unknown(known: int, has_ids: bool) -> None:
    if known:
        return
    look = "--id-field names the ids that your trainer sends" if has_ids else "--prompt-field names the text it sends"
    remark(f"The run knows none of these prompts, so they were picked by chance. Check that {look}.")


def _show(found: Plan, run: str, as_json: bool) -> None:
    if as_json:
        say_json(found.model_dump_json(indent=2))
        return
    out.print(table(found, run))
    say(_summary(found))


def table(found: Plan, run: str) -> Sheet:
    """One line per pick."""
    shown = Sheet("prompt", title=f"{run}: step {found.step}, with what was known after record {found.position}")
    shown.block("p", "low to high", "spread", "visits", "from")
    for one in found.picks:
        interval = f"{one.low:.2f} to {one.high:.2f}"
        shown.row(one.prompt_id, [f"{one.p:.2f}", interval, f"{one.spread:.2f}", str(one.visits), one.source])
    return shown


def _summary(found: Plan) -> str:
    return (
        f"Expected share of groups with spread: {found.expected_spread:.2f}. The run knows {found.known:,} of "
        f"{found.candidates:,} prompts; {found.retired.solved:,} are retired as solved, "
        f"{found.retired.impossible:,} as impossible."
    )
