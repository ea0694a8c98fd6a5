"""`memr explain`: explains one reward."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from memr_client.schemas import ComponentTerm, Explanation, MemoryRead

from memr_service.cli.options import DEFAULT_URL, ApiKey, RunName, Url, connect
from memr_service.cli.sheet import Sheet
from memr_service.cli.terminal import out, say, say_json

SHOWN_CHARS = 160


def explain(
    run: RunName,
    prompt: Annotated[str | None, typer.Option(help="Prompt of a new completion.", show_default=False)] = None,
    completion: Annotated[str | None, typer.Option(help="A new completion.", show_default=False)] = None,
    outcome: Annotated[float, typer.Option(help="Outcome of the new completion.")] = 0.0,
    prompt_id: Annotated[
        str | None,
        typer.Option(help="Identity of the new prompt, if the trainer sends prompt_ids.", show_default=False),
    ] = None,
    position: Annotated[int | None, typer.Option(help="Record of a scored completion.", show_default=False)] = None,
    item: Annotated[int | None, typer.Option(help="Its position in that record, from 0.", show_default=False)] = None,
    serial: Annotated[
        int | None, typer.Option(help="Serial number of a scored completion.", show_default=False)
    ] = None,
    neighbours: Annotated[int, typer.Option(help="Number of neighbours to show for each memory, at most.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole explanation as JSON.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Explain a completion's reward: what it read, where its values lie in the windows, the guards, the sum.

    The last lines account for the reward in words.

    --prompt and --completion score a new completion as of now, without storing it. --position and --item, or --serial,
    explain how a completion of the run was scored.

    ```
    memr explain gsm8k-seed0 --prompt "What is 2 + 3?" --completion "It is 6."
    memr explain gsm8k-seed0 --position 120 --item 3
    ```
    """
    if None in (prompt, completion) and None in (position, item) and serial is None:
        raise typer.BadParameter("give --prompt and --completion, or --position and --item, or --serial.")
    texts = {"prompt": prompt, "completion": completion, "prompt_id": prompt_id}
    given = {**texts, "position": position, "item": item, "serial": serial}
    fields: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with connect(url, api_key) as client:
        found = client.explain(run, outcome=outcome, neighbours=neighbours, **fields)
    if as_json:
        say_json(found.model_dump_json(indent=2))
        return
    stored = position is not None or serial is not None
    place = f"of record {found.position + 1}, scored" if stored else "scored now,"
    reward = f"reward {found.reward:.4f} (outcome {found.outcome:g})"
    say(f"{reward} {place} after record {found.position} of {found.run_id}")
    out.print(_terms(found))
    if any(one.limits for one in found.components.values()):
        out.print()
        out.print(_limits(found))
    for memory, reading in (("success", found.success), ("failure", found.failure)):
        out.print()
        out.print(_neighbours(memory, reading))
    out.print()
    for sentence in found.account:
        say(sentence)


def _terms(found: Explanation) -> Sheet:
    shown = Sheet("component")
    shown.block("raw", "window", "scaled", "weight", "adds")
    for name, one in found.components.items():
        numbers = [_number(one.raw), _window(one), f"{one.scaled:.4f}", f"{one.weight:g}", f"{one.contribution:.4f}"]
        shown.row(name, numbers)
    if found.held_to_spread:
        shown.row("spread limits", ["", "", "", "", f"{-found.held_to_spread:.4f}"])
    return shown


def _limits(found: Explanation) -> Sheet:
    """The guards and bounds that are on; components with the same share a row."""
    shown = Sheet("guard")
    shown.block("of", "found", "applies", figures=False)
    of: dict[tuple[str, str, bool], list[str]] = {}
    for name, one in found.components.items():
        for limit in one.limits:
            of.setdefault((limit.name, limit.says, limit.applied), []).append(name)
    for (guard, says, applied), names in of.items():
        shown.row(guard, [", ".join(names), says, "yes" if applied else "no"])
    return shown


def _neighbours(memory: str, reading: MemoryRead) -> Sheet:
    merged = f" ({reading.entries} entries)" if reading.entries < reading.completions else ""
    read = f"{reading.completions} completions{merged} of {reading.prompts} prompts"
    distance = "" if reading.centroid_distance is None else f", distance to their mean {reading.centroid_distance:.4f}"
    shown = Sheet("cosine", title=f"{memory} memory: {read}{distance}")
    shown.block("outcome", "step", "count")
    shown.block("prompt", "completion", figures=False)
    for one in reading.neighbours:
        step = "-" if one.step is None else str(one.step)
        prompt = "(the same)" if one.own_prompt else _shortened(one.prompt)
        texts = [prompt, _shortened(one.completion)]
        shown.row(f"{one.similarity:.4f}", [f"{one.outcome:g}", step, str(one.count)], texts)
    return shown


def _window(one: ComponentTerm) -> str:
    return "-" if one.window is None else f"{one.window.low:.4f} to {one.window.high:.4f} ({one.window.count})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _shortened(text: str | None) -> str:
    if text is None:
        return "(not kept)"
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 1] + "…"
