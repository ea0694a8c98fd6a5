"""`memr calibrate`: proposes limits for guards from quantiles of a run's own completions."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from memr_client.schemas import Calibration, Proposal, Sides

from memr_service.cli.options import DEFAULT_URL, ApiKey, RunName, Url, connect
from memr_service.cli.sheet import Sheet
from memr_service.cli.terminal import out, say_json

HOW_TO_READ = """\
How to read the table. A limit is computed from a quantile of this run's own completions, mostly of right ones, because
a right completion is certainly an attempt. "at" is the value of that quantile; the limit keeps a margin from it.
"rejects" counts the run's completions that the limit would have rejected, which then get nothing from the component.
Right ones among them are the limit's cost. Wrong ones may be junk or honest attempts: read some of them. For
neighbour_floor, "rejects" counts completions that would have been compared with those of an unrelated prompt; for
merge_similarity, repetitions; for explore_warmup_steps, completions before explore is on.
"""


def calibrate(
    run: RunName,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole result, with `config`, as one JSON object.")
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Propose limits for guards, computed from a run's completions so far. Changes nothing.

    Good limits depend on the encoder, the prompts and the style of the completions, so none fits everywhere. The config
    of a run is frozen; the printed one is for another run. The run needs at least 200 right completions.

    ```
    memr calibrate gsm8k-seed0
    memr calibrate gsm8k-seed0 --json | jq .config > guards.json
    ```
    """
    with connect(url, api_key) as client:
        found = client.calibrate(run)
    if as_json:
        say_json(found.model_dump_json(indent=2))
        return
    out.print(table(found))
    out.print(HOW_TO_READ, highlight=False, markup=False)
    for proposal in found.proposals:
        out.print(f"- {_name(proposal)}: {proposal.why}", highlight=False, markup=False)
    out.print("\nFor the config of another run:", highlight=False)
    say_json(json.dumps(found.config, indent=2, ensure_ascii=False))


def table(found: Calibration) -> Sheet:
    """One line per proposal."""
    sides = found.completions
    title = f"{found.run_id} up to record {found.position}: {sides.right} right and {sides.wrong} wrong completions"
    shown = Sheet("limit", title=title)
    shown.block("proposed", "at", "rejects\nright", "rejects\nwrong")
    shown.block("from", figures=False)
    for one in found.proposals:
        proposed = _proposed(one)
        basis = f"{one.quantile:.1%} quantile of {one.values:,}: {one.of}"
        at = "-" if one.at is None else f"{one.at:g}"
        shown.row(_name(one), [proposed, at, *_shares(one.rejected, one.seen)], [basis])
    return shown


def _name(proposal: Proposal) -> str:
    return proposal.setting if proposal.component is None else f"{proposal.component}: {proposal.setting}"


def _proposed(one: Proposal) -> str:
    if one.value is not None:
        return f"{one.value}".lower()
    if one.too_harsh:
        return f"not proposed: would\nreject {one.rejected.right / one.seen.right:.0%}"
    return "none"


def _shares(rejected: Sides, seen: Sides) -> list[str]:
    pairs = ((rejected.right, seen.right), (rejected.wrong, seen.wrong))
    return [f"{count} of {of}\n{count / of:.2%}" if of else "-" for count, of in pairs]
