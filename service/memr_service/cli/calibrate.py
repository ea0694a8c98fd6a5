"""`memr calibrate`: limits for a run's guards from its own quantiles, and whom they would have rejected."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from memr_client import RewardClient
from memr_client.schemas import Calibration, Proposal, Sides
from rich.table import Table

from memr_service.cli.options import HERE, ApiKey, RunName, Url
from memr_service.cli.terminal import out

READING = """\
How to read it. A limit rests on a quantile of what this run itself produced, mostly of right completions: a right
answer is an attempt, whatever else it is. "at" is where the quantile lies; the limit stands off it by a margin. Of
those that it would have rejected, right ones are its price, and wrong ones may be junk or honest attempts: read some.
For neighbour_floor they are what would have been compared with completions for a stranger's prompt; merge_similarity
counts repetitions, explore_warmup_steps what came before explore. What is rejected gets nothing from the component.
"""


def calibrate(
    run: RunName,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object; `config` is in it.")] = False,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Propose limits for the guards of runs like this one, from what it produced so far; changes nothing.

    Floors depend on the encoder, the prompts and the style of the completions, so none fits everywhere. A run's config
    is frozen: the last lines are for the config of another run. The run needs 200 right completions.

    ```
    memr calibrate gsm8k-seed0
    memr calibrate gsm8k-seed0 --json | jq .config > guards.json
    ```
    """
    with RewardClient(url, api_key=api_key, retries=0) as client:
        found = client.calibrate(run)
    if as_json:
        print(found.model_dump_json(indent=2))
        return
    out.print(table(found))
    out.print(READING, highlight=False, markup=False)
    for proposal in found.proposals:
        out.print(f"- {_name(proposal)}: {proposal.why}", highlight=False, markup=False)
    out.print("\nFor the config of another run:", highlight=False)
    print(json.dumps(found.config, indent=2))


def table(found: Calibration) -> Table:
    """The proposals, one line each."""
    sides = found.completions
    title = f"{found.run_id} up to record {found.position}: {sides.right} right and {sides.wrong} wrong completions"
    shown = Table("limit", title=title)
    shown.add_column("proposed", justify="right", style="bold")
    shown.add_column("rests on")
    for heading in ("at", "rejects\nright", "rejects\nwrong"):
        shown.add_column(heading, justify="right")
    for one in found.proposals:
        proposed = "none" if one.value is None else f"{one.value}".lower()
        basis = f"{one.quantile:.1%} quantile of {one.values:,}: {one.of}"
        at = "-" if one.at is None else f"{one.at:g}"
        shown.add_row(_name(one), proposed, basis, at, *_shares(one.rejected, one.seen))
    return shown


def _name(proposal: Proposal) -> str:
    return proposal.setting if proposal.component is None else f"{proposal.component}: {proposal.setting}"


def _shares(rejected: Sides, seen: Sides) -> list[str]:
    pairs = ((rejected.right, seen.right), (rejected.wrong, seen.wrong))
    return [f"{count} of {of}\n{count / of:.2%}" if of else "-" for count, of in pairs]
