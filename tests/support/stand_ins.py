"""What the blocks of some pages need and cannot have in a test, such as a trainer; and what must have come of it."""

from __future__ import annotations

import re
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from memr_client import RewardClient

from docs.generate import results

TRL = ("README.md", "docs/how-to/trl.md")
"""Pages that hand reward functions to a trainer."""


def of(page: str) -> dict[str, ModuleType]:
    """The modules that a page's blocks import in place of the real ones, by name."""
    if page not in TRL:
        return {}
    trl = ModuleType("trl")
    vars(trl)["GRPOTrainer"] = lambda *_, **given: SimpleNamespace(**given)
    return {"trl": trl}


def check(page: str, names: dict[str, Any], printed: list[str], url: str) -> None:
    """Raise AssertionError where a page's blocks did not do what they say; `printed` is what each of them printed."""
    if page in TRL:
        _check_trl(names, url)
    if page == "docs/how-to/score-logged-rollouts.md":
        _check_aucs("".join(printed))


def _check_aucs(printed: str) -> None:
    """The commands print the AUCs of the table `order-auc`."""
    found = re.findall(r"^(exploit|explore) raw .* ([\d.]+) +\d+ *$", printed, re.MULTILINE)
    rows = results.read("order-auc")["rows"]
    assert [part for part, _ in found] == ["exploit", "explore"] * len(rows)
    told = [row[part] for row in rows for part in ("exploit", "explore")]
    assert [float(value) for _, value in found] == pytest.approx(told, abs=0.005)


def _check_trl(names: dict[str, Any], url: str) -> None:
    """The wired functions reward in training, and leave no trace in evaluation."""
    correct, memory = names["trainer"].reward_funcs
    logged: dict[str, float] = {}
    batch = {
        "prompts": ["2 + 3 = ?"] * 3,
        "completions": ["It is 5", "2 + 3 is 5", "It is 6"],
        "answer": ["5"] * 3,
        "trainer_state": SimpleNamespace(global_step=4),
        "log_metric": logged.__setitem__,
        "completion_ids": [],
    }
    assert correct(**batch) == [1, 1, 0]
    assert len(memory(**batch)) == 3
    with memory.evaluating():
        assert len(memory(**batch)) == 3
    memory.client.close()
    with RewardClient(url, run=memory.run_id) as client:
        assert client.run().position == 1
        assert client.run().step == 4
    assert {"memory/exploit", "memory/seconds", "memory/support_failure"} <= logged.keys()
