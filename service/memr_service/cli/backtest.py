"""A backtest in the terminal: how well a run's pass rates foresaw its groups."""

from __future__ import annotations

from pathlib import Path

from memr_client import RewardClient
from memr_client.schemas import Backtest

from memr_service.cli import figures
from memr_service.cli.sheet import Sheet
from memr_service.cli.terminal import out, say, say_json

NOTHING_FORESEEN = "No group's prompt had been visited before, and no prior run had it: nothing was foreseen."


def show(client: RewardClient, run: str, figure: Path | None, as_json: bool) -> None:
    """Print a run's backtest, and draw it if a file is named."""
    if figure is not None:
        figures.require_picture(figure)
    found = client.backtest(run)
    if figure is not None and found.known:
        figures.calibration(found, figure)
    if as_json:
        say_json(found.model_dump_json(indent=2))
        return
    for one in (whole(found), bins(found), left_out(found)):
        out.print(one)
        out.print()
        if not found.known:
            say(NOTHING_FORESEEN)
            return
    if figure is not None:
        say(f"Drew {figure}.")


def whole(found: Backtest) -> Sheet:
    """The figures over all groups whose prompt was known."""
    title = f"{found.run_id}: {found.known:,} of {found.groups:,} groups had a prompt that was known before"
    shown = Sheet("of them", title=title)
    shown.block("")
    shown.block("how to read it", figures=False)
    for name, value, how in lines(found):
        shown.row(name, [value], [how])
    return shown


def lines(found: Backtest) -> list[tuple[str, str, str]]:
    """Name, value, and how to read it, of each figure over all known groups."""
    equal = found.equal / found.known if found.known else None
    return [
        ("equal outcomes", _number(equal), "share of groups that taught GRPO nothing; a plan can only avoid these"),
        ("AUC", _number(found.auc), "right completions above wrong ones by foreseen pass rate; .5 is chance"),
        ("Brier score", _number(found.brier), "error of the foreseen pass rate; less is better"),
        ("the same of the mean", _number(found.brier_base), "with the run's mean pass rate instead: to be beaten"),
        ("calibration error", _number(found.calibration_error), "mean distance of spread foreseen and seen; 0 is best"),
    ]


def bins(found: Backtest) -> Sheet:
    """Foreseen and seen shares of groups with spread."""
    shown = Sheet(
        "spread foreseen", title="Calibration: of the groups with this probability of spread, how many had it"
    )
    shown.block("groups", "foreseen", "seen")
    for one in found.calibration:
        if one.groups:
            figures_of_it = [f"{one.groups:,}", _number(one.foreseen), _number(one.seen)]
            shown.row(f"{one.low:.1f} to {one.high:.1f}", figures_of_it)
    return shown


def left_out(found: Backtest) -> Sheet:
    """What leaving out groups would have saved and cost."""
    shown = Sheet(
        "left out if equal\nwith probability", title="Leaving out groups: what it would have saved, and at what price"
    )
    shown.block("of equal groups", "of groups with spread")
    for one in found.left_out:
        shown.row(f"{one.limit:g} or more", [_share(one.equal_left_out), _share(one.spread_left_out)])
    return shown


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
