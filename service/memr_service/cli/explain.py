"""`memr explain`: how a reward comes about."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from memr_client import RewardClient
from memr_client.schemas import ComponentTerm, Explanation, MemoryRead
from rich.table import Table
from rich.text import Text

from memr_service.cli.options import HERE, ApiKey, RunName, Url
from memr_service.cli.terminal import out, say

SHOWN_CHARS = 160


def explain(
    run: RunName,
    prompt: Annotated[str | None, typer.Option(help="A question, ...", show_default=False)] = None,
    completion: Annotated[str | None, typer.Option(help="... and an answer to it.", show_default=False)] = None,
    outcome: Annotated[float, typer.Option(help="What the verifier would give it.")] = 0.0,
    prompt_id: Annotated[
        str | None, typer.Option(help="The prompt's identity, where the trainer sends one.", show_default=False)
    ] = None,
    position: Annotated[int | None, typer.Option(help="Or: a record, ...", show_default=False)] = None,
    item: Annotated[int | None, typer.Option(help="... and the item's place in it.", show_default=False)] = None,
    serial: Annotated[int | None, typer.Option(help="Or: the item's number in its run.", show_default=False)] = None,
    neighbours: Annotated[int, typer.Option(help="Most neighbours to show of either memory.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Why a completion is paid what it is: what it reads, where its values lie, which guards fired, and the sum.

    With --prompt and --completion as it would be scored now, without being remembered; with --position and --item, or
    --serial, as a stored one was scored.

    ```
    memr explain gsm8k-seed0 --prompt "What is 2 + 3?" --completion "It is 6."
    memr explain gsm8k-seed0 --position 120 --item 3
    ```
    """
    texts = {"prompt": prompt, "completion": completion, "prompt_id": prompt_id}
    given = {**texts, "position": position, "item": item, "serial": serial}
    asked: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with RewardClient(url, api_key=api_key, retries=0) as client:
        told = client.explain(run, outcome=outcome, neighbours=neighbours, **asked)
    if as_json:
        print(told.model_dump_json(indent=2))
        return
    say(f"reward {told.reward:.4f} (outcome {told.outcome:g}) after record {told.position} of {told.run_id}")
    out.print(_terms(told))
    for memory, reading in (("success", told.success), ("failure", told.failure)):
        out.print(_neighbours(memory, reading))


def _terms(told: Explanation) -> Table:
    shown = Table("component")
    for heading in ("raw", "window", "scaled", "weight", "adds"):
        shown.add_column(heading, justify="right")
    shown.add_column("guards")
    for name, one in told.components.items():
        waits = told.warmup.get(name, 0)
        said = ", ".join(one.rejected) or (f"warms up: {waits} to go" if waits else "")
        numbers = [_number(one.raw), _window(one), f"{one.scaled:.4f}", f"{one.weight:g}", f"{one.contribution:.4f}"]
        shown.add_row(name, *numbers, said)
    if told.held_to_spread:
        shown.add_row("max_spread", "", "", "", "", f"{-told.held_to_spread:.4f}", "")
    return shown


def _neighbours(memory: str, reading: MemoryRead) -> Table:
    merged = f" ({reading.entries} entries)" if reading.entries < reading.completions else ""
    read = f"{reading.completions} completions{merged} of {reading.prompts} prompts"
    far = "" if reading.centroid_distance is None else f", {reading.centroid_distance:.4f} from their mean"
    shown = Table(title=f"{memory} memory: {read}{far}", title_justify="left")
    for heading in ("cosine", "outcome", "step", "count"):
        shown.add_column(heading, justify="right")
    shown.add_column("prompt")
    shown.add_column("completion")
    for one in reading.neighbours:
        step = "-" if one.step is None else str(one.step)
        prompt = "(the same)" if one.own_prompt else _cut(one.prompt)
        numbers = [f"{one.similarity:.4f}", f"{one.outcome:g}", step, str(one.count)]
        shown.add_row(*numbers, Text(prompt), Text(_cut(one.completion)))
    return shown


def _window(one: ComponentTerm) -> str:
    return "-" if one.window is None else f"{one.window.low:.4f} to {one.window.high:.4f} ({one.window.count})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _cut(text: str | None) -> str:
    if text is None:
        return "(not kept)"
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 1] + "…"
