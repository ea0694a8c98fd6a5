"""`memr suspects`: references and verdicts that are likely wrong, and decisions about them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from memr_client import RewardClient
from memr_client.errors import InvalidRequest
from memr_client.schemas import MOST_SUSPECTS, Decision, SuspectLabel, Suspects
from pydantic import ValidationError

from memr_service.cli import rows
from memr_service.cli.options import DEFAULT_URL, ApiKey, RunName, Url, connect, home, require_writable
from memr_service.cli.output import replacing
from memr_service.cli.rows import excerpt
from memr_service.cli.sheet import Sheet
from memr_service.cli.terminal import out, say, say_json
from memr_service.insight.suspects import PRIOR

SHOWN = 20
"""References, and verdicts, that are shown if no number is given."""
REMEDY = 'Write one JSON object per line, for example {"prompt_id": "q7", "decision": "replace", "answer": "42"}.'
NAMES = ("key", "prompt_id", "prompt")
"""Fields of a line that name its prompt, the first that is there counts."""


def suspects(
    run: RunName,
    runs: Annotated[
        str | None, typer.Option(help="Other runs whose answers count too, with commas. Prior runs count anyway.")
    ] = None,
    min_probability: Annotated[
        float, typer.Option(min=0, max=1, help="Only references that are wrong with this probability or more.")
    ] = 0.5,
    prior: Annotated[
        float | None,
        typer.Option(help="Share of the references that are expected to be wrong.", show_default=str(PRIOR)),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_SUSPECTS, help="Most references, and most verdicts.", show_default=f"{SHOWN}; all in a file"
        ),
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the references to this file, as JSON lines.", callback=home)
    ] = None,
    decide: Annotated[
        Path | None,
        typer.Option(help="Take the decisions of this file; others that the run has stay.", callback=home),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Find references of the data set, and verdicts, that the answers seen so far contradict.

    It needs a run that got `references`, and `answers` or an `extract`. More runs, above all of other models, say more.

    `--out` writes a line for each reference, with an empty `decision`. Set it to "replace", with the right answer in
    `answer`, or to "keep", and give the file back with `--decide`: the run no longer suspects these references, its
    verifier judges by the new ones, and runs that name it in `prior_runs` start with the decisions.

    ```
    memr suspects gsm8k-seed0
    memr suspects gsm8k-seed0 --runs gsm8k-seed1,gsm8k-other-model --out suspects.jsonl
    memr suspects gsm8k-seed0 --decide suspects.jsonl
    ```
    """
    others = [name.strip() for name in (runs or "").split(",") if name.strip()]
    if decide is not None and (out_file is not None or others):
        raise InvalidRequest("--decide goes with neither --out nor --runs.", remedy="Leave them out.")
    if out_file is not None:
        require_writable(out_file)
    with connect(url, api_key) as client:
        if decide is not None:
            _decide(client, run, decide, as_json)
            return
        most = limit or (SHOWN if out_file is None else MOST_SUSPECTS)
        found = client.suspects(run, min_probability, most, others, prior)
        if out_file is not None:
            with replacing(out_file) as file:
                file.writelines(json.dumps(line(one), ensure_ascii=False).encode() + b"\n" for one in found.labels)
        if as_json:
            say_json(found.model_dump_json(indent=2))
        elif out_file is not None:
            say(f"Wrote {len(found.labels):,} references to {out_file}, the most probable first.")
            say('Set "decision" in each line to "replace" or "keep", then: memr suspects RUN --decide FILE.')
        else:
            _show(found)


def line(one: SuspectLabel) -> dict[str, Any]:
    """A suspected reference as one line of a file, to be decided about."""
    return {
        "key": one.key,
        "prompt_id": one.prompt_id,
        "prompt": one.prompt,
        "reference": one.reference,
        "decision": None,
        "answer": one.answer,
        "probability": one.probability,
        "share": one.share,
        "visits": one.visits,
        "counts": one.evidence.counts,
        "runs": [says.model_dump() for says in one.evidence.runs],
        "example": one.evidence.example,
    }


def read(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """The decisions of a file; lines with an empty one are passed over.

    Args:
        name: what messages call the file.

    Raises:
        InvalidRequest: the file cannot be read, or a line has no decision. The message names the line.
    """
    for row in rows.read(path, REMEDY, name):
        if not isinstance(row.fields, Mapping) or "decision" not in row.fields:
            raise InvalidRequest(f"{row.where} has no decision.", value=excerpt(_json(row.fields)), remedy=REMEDY)
        if row.fields["decision"] in (None, ""):
            continue
        named = next((one for one in NAMES if row.fields.get(one) is not None), None)
        fields = {one: row.fields[one] for one in (named, "decision") if one is not None}
        if fields["decision"] == "replace":
            fields["answer"] = row.fields.get("answer")
        try:
            Decision.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "its fields"
            raise InvalidRequest(
                f"{row.where}: {place}: {first['msg']}.", value=excerpt(_json(fields)), remedy=REMEDY
            ) from error
        yield fields


def _decide(client: RewardClient, run: str, path: Path, as_json: bool) -> None:
    """Add the decisions of a file to those that a run has."""
    with rows.rereadable(path) as file:
        given = [*read(file, str(path))]
    all_ = client.set_decisions(run, given, add=True)
    if as_json:
        say_json(json.dumps([one.model_dump() for one in all_], indent=2))
        return
    replaced = sum(one["decision"] == "replace" for one in given)
    say(f"{run}: {replaced:,} references are replaced and {len(given) - replaced:,} kept; {len(all_):,} decisions now.")


def _show(found: Suspects) -> None:
    if not found.prompts:
        say(
            f"{found.run_id} has no references with answers. Send `references` with the rewards, and `answers`, or "
            "create the run with `extract`."
        )
        return
    if found.labels:
        out.print(_labels(found))
    if found.verdicts:
        out.print(_verdicts(found))
    say(
        f"{found.accused:,} of {found.prompts:,} references are wrong with probability {found.min_probability:g} or "
        f"more, by the answers of {len(found.runs)} {'run' if len(found.runs) == 1 else 'runs'}; {found.decided:,} are "
        "decided."
    )
    say(f"Calibrated on {found.calibrated_on}")


def _labels(found: Suspects) -> Sheet:
    """One line per suspected reference."""
    shown = Sheet("prompt", title=f"{found.run_id}: references that are likely wrong")
    shown.block("probability", "share", "visits", "runs that agree")
    shown.block("reference", "answer instead", figures=False)
    for one in found.labels:
        agree = f"{one.evidence.sources} of {len(one.evidence.runs)}"
        figures = [f"{one.probability:.2f}", f"{one.share:.2f}", str(one.visits), agree]
        shown.row(one.prompt_id or one.prompt or one.key, figures, [one.reference, one.answer])
    return shown


def _verdicts(found: Suspects) -> Sheet:
    """One line per answer whose verdicts do not fit."""
    shown = Sheet("prompt", title=f"{found.run_id}: verdicts that do not fit the reference")
    shown.block("judged", "completions", "judged otherwise")
    shown.block("reference", "answer", figures=False)
    for one in found.verdicts:
        judged = "wrong" if one.kind == "missed" else "right"
        figures = [judged, str(one.completions), str(one.others)]
        shown.row(one.prompt_id or one.prompt or one.key, figures, [one.reference, one.answer])
    return shown


def _json(fields: Any) -> bytes:
    return json.dumps(fields, default=str).encode()
