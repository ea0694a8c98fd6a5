"""`memr report`: a run for people without a browser, as Markdown with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from memr_client import RewardClient
from memr_client.errors import InvalidRequest
from memr_client.schemas import Audit, Audits, HistoryRow, Provenance

from memr_service.cli import figures, history
from memr_service.cli.options import HERE, ApiKey, RunName, Url
from memr_service.cli.terminal import progress, say

LOOKS = 16
"""Places along the run at which it is audited."""
MARKS = {"alarm": "**ALARM**", "warn": "warn", "ok": "ok", "unknown": "-"}


def report(
    run: RunName,
    folder: Annotated[Path, typer.Option("--dir", help="Where RUN.md and its pictures go.")] = Path("memr-report"),
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Write a run's report: is it collapsing, since when, what to do; its curves; and what a paper must say of it.

    ```
    memr report gsm8k-seed0
    memr report gsm8k-seed0 --dir reports --url http://gpu-box:8000
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client, progress() as bar:
        rows = list(history.steps(client, run))
        if not rows:
            raise InvalidRequest(f"run {run!r} has no steps yet.", value=run, remedy="Report it when it has some.")
        places = sorted({rows[(len(rows) - 1) * look // (LOOKS - 1)].position for look in range(LOOKS)})
        task = bar.add_task("auditing", total=len(places))
        looks = []
        for at in places:
            looks.append(client.audits(run, at=at))
            bar.advance(task)
        origin = client.provenance(run)
    folder.mkdir(parents=True, exist_ok=True)
    curves, health = folder / f"{run}-curves.png", folder / f"{run}-health.png"
    figures.curves(rows, run, curves)
    figures.health(looks, run, health)
    page = folder / f"{run}.md"
    page.write_text(_page(rows, looks, origin, curves.name, health.name), "utf-8")
    say(f"Wrote {page}, {curves.name} and {health.name}.")


def _page(rows: Sequence[HistoryRow], looks: Sequence[Audits], origin: Provenance, curves: str, health: str) -> str:
    items = sum(row.items for row in rows)
    parts = [
        f"# {origin.run_id}",
        f"{origin.completions:,} completions in {origin.position:,} records; {len(rows):,} steps with {items:,} of them"
        f" are shown. The newest outcome is {rows[-1].outcome_mean:.3f}, the first was {rows[0].outcome_mean:.3f}.",
        "## Audits",
        _audits(looks),
        f"![What the audits look at, along the run]({health})",
        "## Curves",
        f"![Outcome, reward and its parts, lengths, memory]({curves})",
        "## Methods",
        methods(origin),
        "```json\n" + origin.model_dump_json(indent=2) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _audits(looks: Sequence[Audits]) -> str:
    """The newest audits as a table, what is out of bounds first, with the step since when it is."""
    order = list(MARKS)
    lines = ["| audit | state | figure | at first | alarm beyond | since step | |", "|---|---|---|---|---|---|---|"]
    remedies = []
    for one in sorted(looks[-1].audits, key=lambda audit: order.index(audit.state)):
        name = f"{one.name} ({one.about})" if one.about else one.name
        out = one.state in ("alarm", "warn")
        since = _since(looks, one) if out else ""
        numbers = [_number(one.value), _number(one.baseline), f"{one.limit:g}"]
        lines.append(f"| {name} | {MARKS[one.state]} | {' | '.join(numbers)} | {since} | {one.says} |")
        if out:
            remedies.append(f"- **{name}**: {one.remedy}")
    parts = ["\n".join(lines), "-: cannot be told, or not yet: a comparison needs a stretch apart from the first one."]
    return "\n\n".join([*parts, "What to do:", "\n".join(remedies)] if remedies else parts)


def _since(looks: Sequence[Audits], audit: Audit) -> str:
    """The step of the first look from which on the audit was out of bounds without a pause."""
    step = ""
    for look in reversed(looks):
        found = [one for one in look.audits if (one.name, one.about) == (audit.name, audit.about)]
        if not found or found[0].state not in ("alarm", "warn") or look.recent is None:
            break
        step = str(look.recent.position if look.recent.step is None else look.recent.step)
    return step


def methods(origin: Provenance) -> str:
    """A paragraph for a paper's methods section."""
    config, encoder = origin.config, origin.encoder or {}
    weights = ", ".join(f"{name} (weight {weight:g})" for name, weight in config.weights.items())
    model = encoder.get("model", "embeddings sent by the trainer")
    weights_hash = f", weights {encoder['weights'][:12]}" if encoder.get("weights") else ""
    return (
        f"Memory rewards were computed with memr {origin.memr} (law {origin.law}), preset {config.preset}: {weights}; "
        f"K = {config.k} nearest prompts, at most N = {config.max_prompts:,} prompts and L = "
        f"{config.max_completions:,} completions per prompt, window w = {config.window}, scaling per "
        f"{config.scaling}, order {config.order}, barrier {config.barrier}, thresholds {config.success_threshold:g} "
        f"and {config.failure_threshold:g}, explore from step {config.explore_warmup_steps} on, seed {config.seed}. "
        f"Texts were embedded by {model}{weights_hash} (d = {origin.dimension}). The run took {origin.completions:,} "
        f"completions in {origin.position:,} requests; its history ends in chain {origin.chain}, its config has "
        f"SHA-256 {origin.config_sha256}. The method is Memory-R+ (Le et al., arXiv 2504.02273)."
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
