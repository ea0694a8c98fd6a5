"""`memr report`: a run's report as Markdown with figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from memr_client import RewardClient
from memr_client.errors import InvalidRequest
from memr_client.schemas import Audit, Audits, Backtest, HistoryRow, Provenance
from memr_client.schemas.zeros import counted

from memr_service.cli import backtest, figures, history
from memr_service.cli.options import DEFAULT_URL, ApiKey, RunName, Url, connect, home
from memr_service.cli.terminal import progress, say

AUDITED_POSITIONS = 16
"""Number of positions along the run at which it is audited."""
EXPLAINED = 8
"""Most rewards of 0 that are explained."""
MARKS = {"alarm": "**ALARM**", "warn": "warn", "ok": "ok", "unknown": "-"}


def report(
    run: RunName,
    folder: Annotated[Path, typer.Option("--dir", help="Folder for RUN.md and its figures.", callback=home)] = Path(
        "memr-report"
    ),
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Write a report of a run: audits with remedies, curves, and a paragraph for a paper's methods section.

    The audits tell whether the run is collapsing, since which step, and what to do. Its figures need the extra
    `report`.

    ```
    memr report gsm8k-seed0
    memr report gsm8k-seed0 --dir reports --url http://gpu-box:8000
    ```
    """
    figures.require_matplotlib()
    with connect(url, api_key) as client, progress() as bar:
        rows = list(history.steps(client, run))
        if not rows:
            raise InvalidRequest(f"run {run!r} has no steps yet.", value=run, remedy="Wait until it has some.")
        folder.mkdir(parents=True, exist_ok=True)
        last = AUDITED_POSITIONS - 1
        positions = sorted({rows[(len(rows) - 1) * n // last].position for n in range(AUDITED_POSITIONS)})
        task = bar.add_task("auditing", total=len(positions))
        looks = []
        for position in positions:
            looks.append(client.audits(run, at=position))
            bar.advance(task)
        provenance = client.provenance(run)
        zeros = _why_zero(client, run)
        foreseen = client.backtest(run)
    curves, health = folder / f"{run}-curves.png", folder / f"{run}-health.png"
    figures.curves(rows, run, curves)
    figures.health(looks, run, health)
    rates = folder / f"{run}-pass-rates.png"
    if foreseen.known:
        figures.pass_rates(rows, foreseen, run, rates)
    page = folder / f"{run}.md"
    page.write_text(_page(rows, looks, provenance, zeros, foreseen, curves.name, health.name, rates.name), "utf-8")
    drawn = [curves.name, health.name, *([rates.name] if foreseen.known else [])]
    say(f"Wrote {page}, {', '.join(drawn[:-1])} and {drawn[-1]}.")


def _why_zero(client: RewardClient, run: str) -> str:
    """How many of the newest rewards are 0, and why some of them are."""
    newest = client.completions(run, limit=200).rows
    zero = [row for row in newest if row.reward == 0]
    said = f"{len(zero)} of the newest {len(newest)} rewards are 0."
    looked = [client.explain(run, position=row.position, item=row.item) for row in zero[:EXPLAINED]]
    causes = counted(line for one in looked for line in one.why_zero)
    if not causes:
        return said
    lines = [f"- {count} of {len(looked)}: {cause}" for cause, count in causes.most_common()]
    return "\n".join([f"{said} Why the newest {len(looked)} of them are:\n", *lines])


def _page(
    rows: Sequence[HistoryRow],
    looks: Sequence[Audits],
    provenance: Provenance,
    zeros: str,
    foreseen: Backtest,
    curves: str,
    health: str,
    rates: str,
) -> str:
    items = sum(row.items for row in rows)
    parts = [
        f"# {provenance.run_id}",
        f"{provenance.completions:,} completions in {provenance.position:,} records. The curves show {len(rows):,} "
        f"steps with {items:,} completions. The mean outcome was {rows[0].outcome_mean:.3f} in the first step and is "
        f"{rows[-1].outcome_mean:.3f} in the newest.",
        "## Audits",
        _audits(looks),
        f"![The figures that the audits check, along the run]({health})",
        "## Why rewards are 0",
        zeros,
        "## Pass rates",
        *_pass_rates(rows, foreseen, rates),
        "## Curves",
        f"![Outcome, reward, components, lengths, memories]({curves})",
        "## Methods",
        methods(provenance),
        "```json\n" + provenance.model_dump_json(indent=2) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _pass_rates(rows: Sequence[HistoryRow], found: Backtest, figure: str) -> list[str]:
    """The share of groups with spread, and how well it was foreseen."""
    shares = [1 - row.zero_variance_share for row in rows]
    said = (
        f"{sum(shares) / len(shares):.0%} of the groups had spread, that is, outcomes that differ: {shares[0]:.0%} in "
        f"the first step, {shares[-1]:.0%} in the newest."
    )
    if not found.known:
        return [f"{said} {backtest.NOTHING_FORESEEN}"]
    lines = [f"| {name} | {value} | {how} |" for name, value, how in backtest.lines(found)]
    known = f"Of {found.groups:,} groups, {found.known:,} had a prompt that was known before. A backtest of these:"
    return [
        f"{said} {known}",
        "\n".join(["| | | |", "|---|---|---|", *lines]),
        f"![Share of groups with spread over the steps; spread foreseen and seen]({figure})",
    ]


def _audits(looks: Sequence[Audits]) -> str:
    """The newest audits as a table, worst state first, with the step since which each is out of bounds."""
    lines = ["| audit | state | figure | at first | alarms | since step | |", "|---|---|---|---|---|---|---|"]
    remedies = []
    for one in looks[-1].audits:
        name = f"{one.name} ({one.about})" if one.about else one.name
        out = one.state in ("alarm", "warn")
        since = _since(looks, one) if out else ""
        numbers = [_number(one.value), _number(one.baseline), f"{one.beyond} {one.limit:g}"]
        says = f"{one.says} Waits for {one.waits_for}." if one.waits_for else one.says
        lines.append(f"| {name} | {MARKS[one.state]} | {' | '.join(numbers)} | {since} | {says} |")
        if out:
            remedies.append(f"- **{name}**: {one.remedy}")
    parts = ["\n".join(lines), "-: unknown."]
    return "\n\n".join([*parts, "What to do:", "\n".join(remedies)] if remedies else parts)


def _since(looks: Sequence[Audits], audit: Audit) -> str:
    """The step since which the audit has been out of bounds at every audited position."""
    step = ""
    for look in reversed(looks):
        found = [one for one in look.audits if (one.name, one.about) == (audit.name, audit.about)]
        if not found or found[0].state not in ("alarm", "warn") or look.recent is None:
            break
        step = str(look.recent.position if look.recent.step is None else look.recent.step)
    return step


def methods(provenance: Provenance) -> str:
    """A paragraph for a paper's methods section."""
    config, encoder = provenance.config, provenance.encoder or {}
    weights = ", ".join(f"{name} (weight {weight:g})" for name, weight in config.weights.items())
    model = encoder.get("model", "embeddings sent by the trainer")
    weights_hash = f", weights {encoder['weights'][:12]}" if encoder.get("weights") else ""
    return (
        f"Memory rewards were computed with memr {provenance.memr} (law {provenance.law}), preset {config.preset}: "
        f"{weights}; "
        f"K = {config.k} nearest prompts, at most N = {config.max_prompts:,} prompts and L = "
        f"{config.max_completions:,} completions per prompt, window w = {config.window}, scaling per "
        f"{config.scaling}, order {config.order}, barrier {config.barrier}, thresholds {config.success_threshold:g} "
        f"and {config.failure_threshold:g}, explore from step {config.explore_warmup_steps} on, seed {config.seed}. "
        f"Texts were embedded by {model}{weights_hash} (d = {provenance.dimension}). The run scored "
        f"{provenance.completions:,} completions in {provenance.position:,} records; its history ends in chain "
        f"{provenance.chain}, its config has SHA-256 {provenance.config_sha256}. The method is Memory-R+ (Le et al., "
        "arXiv 2504.02273)."
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
