"""`memr demo`: scores real completions in this process and explains their rewards."""

from __future__ import annotations

from importlib.resources import as_file, files

from memr_client import RewardClient
from memr_client.schemas import RewardResponse, RunConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from memr_service.cli import rollouts
from memr_service.cli.rollouts import Rollout

CONFIG = RunConfig(preset="memory-r+", explore_warmup_steps=0)
"""Memory-R+ without explore's warm-up, which is longer than the demo."""

JUNK = "I do not know."


def play(client: RewardClient, console: Console) -> None:
    """Score the bundled rollouts in a new run named `demo`, and print the last group's rewards with an explanation."""
    with as_file(files("memr_service.cli") / "demo.jsonl") as path:
        groups = list(rollouts.requests(rollouts.read(path), by="prompt"))
    last = groups[-1]
    question = str(last[0].prompt)
    config = client.create_run("demo", CONFIG).config
    console.print(_introduction(groups, config.encoder), highlight=False)
    for group in groups[:-1]:
        client.reward([str(rollout.prompt) for rollout in group], *_columns(group), run_id="demo")
    stored = client.run("demo").memory
    response = client.reward([question] * len(last), *_columns(last), run_id="demo")
    junk = client.reward([question], [JUNK], [0], run_id="demo", mode="eval")
    sizes = f"{stored.success.completions} right and {stored.failure.completions} wrong completions"
    console.print(f"\nThe memories hold {sizes} before the last question:", highlight=False)
    console.print(Text(question, style="italic"), "\n")
    console.print(_table(last, response, junk))
    for paragraph in EXPLANATION:
        console.print(paragraph, highlight=False)


EXPLANATION = (
    "\n[b]How to read the table.[/] exploit is minus the distance to the mean of the right completions under the "
    "nearest stored prompt: closer is better. explore is 1 minus the highest cosine with a wrong completion there: "
    "unlike past mistakes is better. Each is scaled by a window over its last 100 values, and the reward is their sum. "
    "A completion is compared with its siblings, never with itself.\n",
    "[b]What to watch out for.[/] The last row is no answer at all, but its explore is the highest, because nothing in "
    "memory resembles it. The presets with guards pay it less. So score your own rollouts before you train:\n",
    "  memr score rollouts.jsonl    one {'prompt', 'completion', 'outcome'} per line",
    "  memr serve                   then POST /reward, or RewardClient in Python",
)
"""Paragraphs under the table."""


def _introduction(groups: list[list[Rollout]], encoder: str | None) -> str:
    every = [rollout for group in groups for rollout in group]
    right = sum(rollout.outcome > 0.5 for rollout in every)
    return (
        f"[b]{len(every)} model solutions of {len(groups)} GSM8K questions[/], {right} right and "
        f"{len(every) - right} wrong, are scored by Memory-R+, question by question. Encoder: {encoder}."
    )


def _columns(group: list[Rollout]) -> tuple[list[str], list[float]]:
    return [str(rollout.completion) for rollout in group], [rollout.outcome for rollout in group]


def _table(last: list[Rollout], response: RewardResponse, junk: RewardResponse) -> Table:
    table = Table("completion (last line)", "outcome", title="Completions of the last question")
    for heading in ("exploit", "scaled", "explore", "scaled", "reward"):
        table.add_column(heading, justify="right", no_wrap=True)
    for i, rollout in enumerate(last):
        table.add_row(str(rollout.completion).splitlines()[-1], _outcome(rollout.outcome), *_numbers(response, i))
    table.add_section()
    table.caption = "* scored with mode='eval': nothing is stored"
    table.add_row(f"{JUNK} *", _outcome(0), *_numbers(junk, 0))
    return table


def _outcome(outcome: float) -> str:
    return "[green]right[/]" if outcome > CONFIG.success_threshold else "[red]wrong[/]"


def _numbers(response: RewardResponse, item: int) -> list[str]:
    cells = []
    for name in ("exploit", "explore"):
        values = response.components[name]
        raw = values.raw[item]
        cells += ["-" if raw is None else f"{raw:.3f}", f"{values.scaled[item]:.3f}"]
    return [*cells, f"[b]{response.rewards[item]:.3f}[/]"]
