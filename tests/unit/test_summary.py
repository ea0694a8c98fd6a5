"""The summary's statistics, compared with counts made by hand."""

from __future__ import annotations

import io
import math

import pytest
from memr_service.cli.summary import summarise, table
from rich.console import Console


def test_auc_counts_pairs_and_ties_half():
    (line,) = summarise({"reward": [0.2, 0.9, 0.2, 0.1]}, [False, True, True, False], "aaaa")
    # pairs right > wrong: .9>.2 yes, .9>.1 yes, .2=.2 half, .2>.1 yes
    assert line.auc == pytest.approx(3.5 / 4)


def test_means_and_spreads_are_those_of_each_side():
    (line,) = summarise({"reward": [1.0, 2.0, 3.0, 6.0]}, [True, True, False, False], "aabb")
    assert (line.right.count, line.right.mean, line.right.std) == (2, 1.5, 0.5)
    assert (line.wrong.count, line.wrong.mean, line.wrong.std) == (2, 4.5, 1.5)


def test_auc_is_the_mean_over_groups_that_have_both_sides():
    values = [1.0, 0.0, 0.0, 1.0, 5.0, 7.0]
    right = [True, False, True, False, True, True]
    (line,) = summarise({"reward": values}, right, ["a", "a", "b", "b", "c", "c"])
    assert (line.auc, line.groups) == (0.5, 2)


def test_a_pair_across_groups_does_not_count():
    (line,) = summarise({"reward": [9.0, 0.0]}, [True, False], ["a", "b"])
    assert math.isnan(line.auc)
    assert line.groups == 0


def test_null_values_are_left_out_of_everything():
    (line,) = summarise({"explore raw": [None, 4.0, 2.0, None]}, [True, True, False, False], "aaaa")
    assert (line.right.count, line.right.mean, line.wrong.count, line.auc) == (1, 4.0, 1, 1.0)


def test_the_table_shows_a_dash_where_there_is_no_value():
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(summarise({"explore raw": [None, None]}, [True, False], "aa"), "guarded"))
    assert "explore raw" in (shown := console.export_text())
    assert "nan" not in shown
