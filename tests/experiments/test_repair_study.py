"""The study of repair: which labels are wrong, what judges each arm, and that all arms train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from memr_client.schemas import Repair

from benchmarks.repair_study import __main__ as study
from benchmarks.repair_study import arms, tables
from benchmarks.repair_study.__main__ import placebos, trainings
from benchmarks.repair_study.labels import Kind, labelled
from benchmarks.repair_study.registration import registered
from benchmarks.repair_study.training import Training, train_one
from examples.grpo.config import Config
from examples.grpo.rollout import Rollout
from examples.grpo.tasks.dial import Dial
from examples.grpo.tasks.task import Question


def rollout(*said: str, answer: str = "7") -> Rollout:
    n = len(said)
    texts = [f"<answer>\n{one}\n</answer>" for one in said]
    return Rollout([Question("?", answer)] * n, [[0]] * n, [[0]] * n, texts, [False] * n)


def test_the_majority_of_each_group_is_right_under_ttrl() -> None:
    assert arms.majority(Dial(0), rollout("1", "2", "2", "7", "7", "3"), 3) == [0, 1, 1, 1, 1, 0]


def test_corrected_outcomes_are_right_on_average() -> None:
    accepts_wrong, rejects_right = 0.1, 0.4
    wrong, right = arms.corrected([0.0, 1.0], accepts_wrong, rejects_right)
    assert accepts_wrong * right + (1 - accepts_wrong) * wrong == pytest.approx(0)
    assert (1 - rejects_right) * right + rejects_right * wrong == pytest.approx(1)


def test_the_placebo_masks_so_many_groups() -> None:
    masked = arms.at_random([1.0] * 12, 3, 2, step=5)
    assert [sum(masked[start : start + 3]) for start in range(0, 12, 3)].count(0) == 2
    assert masked != arms.at_random([1.0] * 12, 3, 2, step=7)
    assert arms.at_random([1.0] * 12, 3, 0, step=5) == [1.0] * 12


def test_the_study_has_each_arm_on_each_seed_and_its_placebos_in_a_second_round() -> None:
    registration = registered()
    noise, kind = registration.conditions[0]
    assert registration.arms[:2] == ["none", "repair"]
    assert {*registration.arms} == {*arms.ABOUT}
    assert len(registration.seeds) == 16
    assert not {*registration.seeds} & {*registration.tuned_on}
    first = trainings(registration, registration.arms, noise, kind)
    assert len(first) == 6 * 16
    found = [finished("repair", seed, 0.5) for seed in registration.seeds[:2]]
    second = placebos(registration, found, noise, kind)
    assert [one.masked for one in second.values()] == [(0, 2), (0, 2)]
    assert all(Repair.model_validate(repair) for repair in arms.REPAIRS.values())


def test_trainings_that_do_not_depend_on_the_labels_are_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registration = registered()
    assert len(trainings(registration, registration.arms, 0.2, "random")) == 4 * 16
    assert len(trainings(registration, registration.arms, 0.0, "random")) == 2 * 16
    kept = tmp_path / "trainings.jsonl"
    begun = [{}, {"noise": 0.0, "kind": "random"}, {"noise": 0.2, "kind": "random"}]
    rows = [
        finished("clean", 500, 0.8),
        finished("ttrl", 500, 0.7),
        *(finished("olr", 500, 0.6) | one for one in begun),
    ]
    kept.write_text(
        "".join(json.dumps({"key": str(place), "row": row | {"seconds": 9.0}}) + "\n" for place, row in enumerate(rows))
    )
    monkeypatch.setattr(study, "KEPT", kept)
    known = tables.arms(registration, study.finished())["rows"]
    areas = {(row["noise"], row["kind"], row["arm"]): row["area"] for row in known}
    conditions = [(0.4, "self-liked"), (0.2, "random"), (0.0, "random")]
    assert areas == {
        **{(*condition, "olr"): 0.6 for condition in conditions},
        **{(*condition, "ttrl"): 0.7 for condition in conditions},
        **{(*condition, "clean"): 0.8 for condition in conditions},
        **{(0.0, "random", arm): 0.8 for arm in study.AS_THE_LABELS_ARE},
    }
    assert sum(row["seconds"] for row in study.finished()) == 5 * 9.0


def finished(method: str, seed: int, area: float) -> dict[str, Any]:
    """A finished training with the registered noise."""
    noise, kind = registered().conditions[0]
    measures = {"area": area, "final": area, "repaired": [0, 2], "rightly": [0, 1]}
    return {"method": method, "noise": noise, "kind": kind, "seed": seed} | measures


def test_the_tables_hold_every_seed_and_compare_only_what_is_finished() -> None:
    seeds = registered().seeds
    none = [finished("none", seed, 0.5 + 0.001 * place) for place, seed in enumerate(seeds)]
    repair = [finished("repair", seed, 0.6 + 0.002 * place) for place, seed in enumerate(seeds)]
    rows = tables.arms(registered(), [*repair, *none])["rows"]
    assert [(row["arm"], row["seeds"], row["rightly"]) for row in rows] == [
        ("none", seeds, 0.5),
        ("repair", seeds, 0.5),
    ]
    (row,) = tables.compared(registered(), [*repair, *none])["rows"]
    assert (row["method"], row["control"], row["seeds"], row["holds"]) == ("repair", "none", 16, "yes")
    assert tables.compared(registered(), [*repair[1:], *none])["rows"] == []


@pytest.mark.slow
def test_labels_are_wrong_where_they_should_be_and_every_arm_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dial, "lessons", 2)
    monkeypatch.setattr("benchmarks.repair_study.labels.SAMPLES", 2)
    monkeypatch.setattr("benchmarks.repair_study.labels.QUESTIONS", 16)
    monkeypatch.chdir(tmp_path)
    config = Config(model="tiny", task="dial", seed=3)
    right = {one.text: one.answer for one in Dial(3).train}
    for kind in get_args(Kind):
        labels = labelled(config, 0.4, kind)
        assert len(labels.task.train) == 16
        assert {one.text for one in labels.task.train if right[one.text] != one.answer} == labels.wrong
        assert len(labels.wrong) == 6
        assert 0 <= labels.accepts_wrong < 1
        assert 0 <= labels.rejects_right <= 1
    gates = {"mode": "mask", "visits": 1, "share": 0.0, "margin": None}
    for arm in arms.ABOUT:
        masked = (1, 0) if arm == "placebo" else ()
        own = gates if arm == "repair" else None
        row = train_one(Training(arm, 0.4, "self-liked", 3, masked, steps=2, repair=own), tmp_path)
        assert len(row["repaired"]) == len(row["rightly"]) == 2
        assert row["evaluated"] == [0, 2]
        assert 0 <= row["area"] <= 1
    assert not list((tmp_path / "stores").iterdir())
