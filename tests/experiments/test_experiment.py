"""The experiment's statistics, its pool and its plan (`make experiment`)."""

from __future__ import annotations

import itertools
import random
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient
from memr_service.run.presets import resolve

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.experiment import default_preset, figures, gsm8k, tuning
from benchmarks.experiment.compare import compare, interval, sign_flip
from benchmarks.experiment.document import document, measured
from benchmarks.experiment.methods import METHODS, fields
from benchmarks.experiment.plan import SECOND, keyed, trainings
from benchmarks.experiment.pool import read, run_all
from benchmarks.experiment.registration import Registration, registered
from benchmarks.experiment.results import Results
from examples.grpo.config import Config
from examples.grpo.rewards import memory_config
from examples.grpo.tasks.clock import Clock

SIXTEEN = np.random.default_rng(5).normal(0.1, 0.3, 16)


def test_the_interval_is_that_of_a_plain_bootstrap() -> None:
    dice = random.Random(0)
    means = sorted(sum(dice.choices(list(SIXTEEN), k=16)) / 16 for _ in range(20_000))
    assert interval(SIXTEEN, 0.9) == pytest.approx((means[1_000], means[18_999]), abs=0.01)


def test_the_sign_flip_test_counts_all_ways_of_drawing_the_signs() -> None:
    values = list(SIXTEEN[:10])
    flipped = [
        sum(sign * x for sign, x in zip(signs, values, strict=True)) for signs in itertools.product((1, -1), repeat=10)
    ]
    as_far = [abs(total) >= abs(sum(values)) - 1e-12 for total in flipped]
    assert sign_flip(np.array(values)) == pytest.approx(sum(as_far) / 2**10)


def test_more_comparisons_make_intervals_wider_and_p_larger() -> None:
    alone, among = (compare(SIXTEEN, np.zeros(16), comparisons=m) for m in (1, 10))
    assert among.low < alone.low < alone.difference < alone.high < among.high
    assert among.p == pytest.approx(min(1, 10 * alone.p))


def test_without_a_difference_a_comparison_holds_as_rarely_as_it_says() -> None:
    dice = np.random.default_rng(1)
    held = [compare(dice.normal(size=12), np.zeros(12), comparisons=1).holds for _ in range(100)]
    assert 0 < sum(held) < 100 * 0.05 + 3 * (100 * 0.05 * 0.95) ** 0.5


def test_of_four_seeds_no_difference_holds_however_large() -> None:
    assert not compare([1, 1, 1, 1], [0, 0, 0, 0], comparisons=1).holds


def test_a_difference_on_all_of_sixteen_seeds_holds() -> None:
    found = compare(np.abs(SIXTEEN) + 0.1, np.zeros(16), comparisons=5)
    assert found.holds
    assert found.low > 0


def test_a_comparison_of_different_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match="same seeds twice"):
        compare([1, 2, 3], [1, 2], comparisons=1)


def test_an_interrupted_experiment_goes_on_where_it_stopped(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    trainings = {name: (str(tmp_path), name) for name in ("one", "bad", "three")}
    with pytest.raises(RuntimeError, match="bad"):
        run_all(trainings, work_unless_bad, kept, processes=1)
    assert "one" in read(kept)
    kept.write_text(kept.read_text() + '{"key": "three", "ro')
    (tmp_path / "cured").touch()
    rows = run_all(trainings, work_unless_bad, kept, processes=1)
    assert rows == {name: {"name": name} for name in trainings} == read(kept)
    assert (tmp_path / "calls").read_text().split().count("one") == 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_a_training_whose_memory_the_service_accepts(method: str) -> None:
    config = Config.model_validate(fields(method, "clock", 0))
    assert (config.memory is None) <= METHODS[method].is_control
    if config.memory is not None:
        resolve(memory_config(config, Clock(0)), "memory-r+", "hashed")


@pytest.mark.parametrize("method", [name for name in METHODS if "memory" in METHODS[name].changes])
def test_every_memory_gives_rewards(method: str) -> None:
    config, task, dice = Config.model_validate(fields(method, "clock", 0)), Clock(0), random.Random(0)
    lessons = [task.demonstration(dice) for _ in range(64)]
    outcomes = [float(task.mode(text) == "worked") for _, text in lessons]
    with RewardClient.embedded(run="paid") as memory:
        memory.create_run(config=memory_config(config, task))
        memory.reward(*zip(*lessons, strict=True), outcomes, step=0)
        answer = memory.reward([lessons[0][0]] * 64, [text for _, text in lessons], outcomes, step=1)
    assert np.std(answer.rewards) > 0.05


def test_the_default_preset_is_compared_on_seeds_of_its_own_and_held_where_outcomes_are_equal() -> None:
    registration = default_preset.registered()
    assert not {*registration.seeds} & {*registered().seeds}
    planned = default_preset.trainings(registration)
    assert Counter(method for method, _ in planned.values()) == dict.fromkeys(default_preset.CHANGES, 8)
    spreads = {
        method: resolve(memory_config(Config.model_validate(changes), Clock(0)), "memory-r+", "hashed").equal_spread
        for method, changes in planned.values()
        if changes["memory"] is not None
    }
    assert spreads == {"attempts": 0.0, "attempts-equal": 0.25}


@pytest.mark.parametrize(("loss", "holds"), [(0.01, True), (0.03, False)])
def test_the_default_preset_may_lose_no_more_than_the_margin(loss: float, holds: bool) -> None:
    registration = default_preset.registered()
    dice = np.random.default_rng(0)
    areas = {seed: dice.uniform(0.1, 0.3) for seed in registration.seeds}
    found = [
        {"method": method, "seed": seed, "final": 0.5, "area": area - (loss if method == "attempts" else 0.0)}
        for seed, area in reversed(areas.items())
        for method in default_preset.CHANGES
    ]
    rows = {row.name: row for row in default_preset.rows(registration, found)}
    assert rows["clock/attempts/difference"].value == pytest.approx(-loss)
    assert rows["clock/attempts/difference"].holds is holds
    assert rows["clock/attempts-equal/difference"].holds is None


def test_controls_use_no_memory() -> None:
    controls = {name for name, method in METHODS.items() if method.is_control}
    assert controls == {name for name in METHODS if name.startswith("r1")} | {"random", "shuffled"}


def test_registered_seeds_took_no_part_in_the_choice() -> None:
    chosen = registered()
    assert set(chosen.seeds).isdisjoint(seed for own in tuning.ROUNDS for seed in own.seeds)
    assert set(chosen.everyone) <= METHODS.keys()
    assert not any(METHODS[name].is_control for name in chosen.methods)
    assert all(METHODS[name].is_control for name in chosen.controls)


def test_both_sides_are_tuned_alike() -> None:
    for own in tuning.ROUNDS:
        assert len(own.controls) == len(own.ours)
        assert all("memory" not in changes for changes in own.controls.values())
        assert all("memory" in changes for changes in own.ours.values())


def test_the_plan_has_the_registered_methods_on_all_seeds_and_the_others_on_four() -> None:
    planned = [changes for _, changes in trainings(CHOSEN, quick=False).values()]
    by = Counter((method, changes["task"]) for method, changes in trainings(CHOSEN, quick=False).values())
    assert len(planned) == len(trainings(CHOSEN, quick=False))
    for method in METHODS:
        primary = method in CHOSEN.everyone
        assert by[method, "clock"] == (len(CHOSEN.seeds) if primary else 4)
        assert by[method, SECOND] == (4 if primary else 0)
    assert {method for method, _ in trainings(CHOSEN, quick=True).values()} == set(CHOSEN.everyone)


def test_a_training_of_other_fields_has_another_key() -> None:
    one, other = ({"task": "clock", "seed": 0, "kl": kl} for kl in (0.0, 0.04))
    assert keyed("r1", one)[0] != keyed("r1", other)[0] == keyed("r1", dict(reversed(other.items())))[0]


def test_the_gpu_script_plans_every_method_on_every_seed_and_model() -> None:
    asked = Namespace(methods=list(METHODS), seeds=3, steps=None, data=None)
    for model in gsm8k.MODELS:
        planned = gsm8k.trainings(model, asked)
        assert len(planned) == 3 * len(METHODS)
        assert all(Config.model_validate(changes).model == model for _, changes in planned.values())


def test_the_report_says_what_holds_and_no_more() -> None:
    for gain, said in ((0.2, "beats"), (0.0, "It is not shown")):
        first = Results.of("clock", made_up(gain, CHOSEN.seeds))
        text = document(CHOSEN, first, Results.of(SECOND, []), quick=False)
        assert said in text.split("\n\n")[1]
        rows = measured(CHOSEN, [first])
        assert (rows["clock/primary/interval_low"] > 0) == (gain > 0)
        assert rows["clock/r1/area"] == pytest.approx(np.mean(first.column("r1", "area")))
        for each in first.rows["r1"].values():
            assert f"{each['final']:.2f}".lstrip("0") in text


def test_methods_are_listed_together_only_on_the_same_seeds() -> None:
    rows = [row for row in made_up(0.0, [0, 1, 2]) if row["method"] != "r1" or row["seed"] < 2]
    results = Results.of("clock", rows)
    assert "r1" not in results.on([0, 1, 2]).rows
    assert all(list(seeds) == [0, 1] for seeds in results.on([0, 1]).rows.values())
    assert results.on([0, 1]).rows.keys() == results.rows.keys()


def test_the_figures_are_drawn(tmp_path: Path) -> None:
    results, shown = Results.of("clock", made_up(0.2, CHOSEN.seeds[:4])), ["contrast", "r1"]
    figures.learning(results, shown, tmp_path / "learning.png")
    figures.everything(results, tmp_path / "everything.png")
    figures.collapse(results, shown, tmp_path / "collapse.png")
    assert all((tmp_path / f"{name}.png").stat().st_size > 10_000 for name in ("learning", "everything", "collapse"))


CHOSEN = Registration(
    task="clock",
    methods=["contrast"],
    controls=["r1-reweighted", "r1", "shuffled"],
    measure="area",
    seeds=list(range(16)),
    test="in words",
)


def made_up(gain: float, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of four methods; ours is better by `gain`."""
    dice = np.random.default_rng(0)
    rows = []
    for method in CHOSEN.everyone:
        for seed in seeds:
            value = float(np.clip(0.5 + gain * (method in CHOSEN.methods) + dice.normal(0, 0.05), 0, 1))
            row = {"task": "clock", "method": method, "seed": seed, "final": value, "area": value - 0.1}
            row |= {"evaluated": [0, 2], "accuracy": [0.1, value], "modes": {"guess": [0.5, 0.2], "worked": [0.5, 0.8]}}
            row |= {name: [1.0, 2.0] for name in ("outcome", "format", "length", "diversity")}
            rows.append({**row, "memory_share": {"all": None}, "reward_share": 0.01})
    return rows


def work_unless_bad(given: tuple[str, str]) -> dict[str, str]:
    folder, name = Path(given[0]), given[1]
    with (folder / "calls").open("a") as calls:
        print(name, file=calls)
    if name == "bad" and not (folder / "cured").exists():
        raise RuntimeError("bad")
    return {"name": name}
