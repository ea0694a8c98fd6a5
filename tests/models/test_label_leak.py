"""Which order of reading and writing gives the label away, on real solutions (benchmarks/label_leak.py: on all)."""

from __future__ import annotations

import pytest
from support.leak import Leak, measure
from support.minilm import embed
from support.real_data import Question, official_trace, solutions


@pytest.fixture(scope="module")
def mixed() -> list[Question]:
    """About 150 questions that some of the four models got right, those of the official traces."""
    asked = {batch["question"] for k in (1, 5) for batch in official_trace(k)["batches"]}
    groups = [solutions()[place] for place in sorted(asked)]
    groups = [group for group in groups if 0 < sum(solution["is_correct"] for solution in group["solutions"]) < 4]
    embed([text for group in groups for text in (group["question"], *(s["solution"] for s in group["solutions"]))])
    return groups


def table(leaks: list[Leak], capsys: pytest.CaptureFixture[str]) -> dict[str, list[float]]:
    """AUCs by component, for one, two and three right answers; also printed."""
    aucs = {name: [leak.auc for leak in leaks if leak.component == name] for name in ("exploit", "explore")}
    counts = [(leak.component, leak.right, leak.groups, leak.defined, leak.pairs) for leak in leaks]
    with capsys.disabled():
        print(f"\n{leaks[0].order}: AUC {aucs}; (component, right, groups, defined pairs, pairs) {counts}")
    return aucs


def test_holding_one_out_hardly_tells_right_from_wrong(
    mixed: list[Question], capsys: pytest.CaptureFixture[str]
) -> None:
    aucs = table(measure(mixed, "hold_one_out"), capsys)
    assert all(0.3 <= auc <= 0.6 for auc in aucs["explore"])
    assert all(0.45 <= auc <= 0.85 for auc in aucs["exploit"])
    assert aucs["exploit"][1] > 0.5 < aucs["exploit"][2]


def test_reading_first_hardly_tells_right_from_wrong(mixed: list[Question], capsys: pytest.CaptureFixture[str]) -> None:
    aucs = table(measure(mixed, "read_first"), capsys)
    assert all(0.3 <= auc <= 0.7 for auc in aucs["explore"] + aucs["exploit"])


def test_the_official_order_hands_out_the_label(mixed: list[Question], capsys: pytest.CaptureFixture[str]) -> None:
    aucs = table(measure(mixed, "official"), capsys)
    assert all(auc >= 0.999 for auc in aucs["explore"])
    assert all(auc >= 0.95 for auc in aucs["exploit"])


def test_every_pair_of_a_mixed_group_is_compared(mixed: list[Question]) -> None:
    leaks = measure(mixed[:40], "hold_one_out")
    assert sum(leak.groups for leak in leaks if leak.component == "explore") == 40
    assert all(leak.pairs == leak.groups * leak.right * (4 - leak.right) for leak in leaks)
    # only while the memory holds no other prompt's successes has a group with a single right answer nothing to read
    assert all(leak.pairs - leak.defined <= 3 for leak in leaks)
