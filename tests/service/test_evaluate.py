"""Every component as a run evaluates it, against plain loops over what was sent."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest
from support.cases import slow_after
from support.in_process import InProcess

D = 16
CONFIG: dict[str, Any] = {"explore_warmup_steps": 0, "max_prompts": 6, "max_completions": 5}


class World:
    """Requests of two groups of four, and a plain copy of what a run stores: prompt -> completions, oldest first."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.prompts = self.rng.normal(size=(9, D)).astype(np.float32)
        self.centres = self.rng.normal(size=(9, 3, D))
        self.stored: dict[str, dict[int, list[np.ndarray]]] = {"success": {}, "failure": {}}
        self.answers: dict[int, Counter[str]] = {}

    def request(self, **fields: Any) -> dict[str, Any]:
        asked = np.repeat(self.rng.choice(9, size=2, replace=False), 4)
        rows = [self.centres[one][self.rng.integers(3)] + 0.3 * self.rng.normal(size=D) for one in asked]
        self.asked = asked.tolist()
        self.rows = np.array(rows, np.float32)
        self.outcomes = self.rng.integers(2, size=8).astype(float)
        self.said = [str(number) for number in self.rng.integers(4, size=8)]
        return {
            "run_id": "run",
            "prompts": [f"prompt {one}" for one in asked],
            "completions": ["words " * 5 for _ in asked],
            "outcomes": self.outcomes.tolist(),
            "answers": self.said,
            "embeddings": {"prompts": self.prompts[asked], "completions": self.rows},
            **fields,
        }

    def write(self) -> None:
        """Store the last request, as law L3 says."""
        for prompt, row, outcome in zip(self.asked, unit(self.rows), self.outcomes, strict=True):
            memory = self.stored["success" if outcome > 0.5 else "failure"]
            if prompt not in memory and len(memory) == CONFIG["max_prompts"]:
                del memory[next(iter(memory))]
            memory.setdefault(prompt, []).append(row)
            del memory[prompt][: -CONFIG["max_completions"]]
        for prompt, answer in zip(self.asked, self.said, strict=True):
            self.answers.setdefault(prompt, Counter())[answer] += 1
            while len(self.answers) > CONFIG["max_prompts"]:
                del self.answers[next(iter(self.answers))]

    def without_held(self, side: str, item: int) -> list[tuple[int, np.ndarray]]:
        """All entries (prompt, row) of a memory but the one that law L9 holds out for an item."""
        memory, rows = self.stored[side], unit(self.rows)
        entries = [(prompt, row) for prompt, kept in memory.items() for row in kept]
        siblings = [place % 8 for place in range(item, item + 8) if self.asked[place % 8] == self.asked[item]]
        for sibling in siblings:
            for place, (_, row) in enumerate(entries):
                if np.array_equal(row, rows[sibling]):
                    return entries[:place] + entries[place + 1 :]
        return entries


def unit(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    return (wide / np.sqrt((wide * wide).sum(axis=1, keepdims=True))).astype(np.float32)


def test_contrast_projects_on_the_means_of_everything_stored_except_the_entry_held_out() -> None:
    world = World(0)
    with InProcess("memory:") as service:
        service.create("run", components={"contrast": 1.0}, **CONFIG)
        for _ in range(40):
            answer = service.reward(**world.request())
            world.write()
            for item, row in enumerate(unit(world.rows)):
                won = [one for _, one in world.without_held("success", item)]
                lost = [one for _, one in world.without_held("failure", item)]
                raw = answer["components"]["contrast"]["raw"][item]
                if not won or not lost:
                    assert raw is None
                    continue
                direction = np.mean(won, axis=0, dtype=np.float64) - np.mean(lost, axis=0, dtype=np.float64)
                assert raw == pytest.approx(float(row @ direction), abs=1e-9)


@pytest.mark.parametrize("neighbours", [5, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 200))])
def test_value_is_what_the_most_similar_completions_earned(neighbours: int) -> None:
    world = World(7)
    with InProcess("memory:") as service:
        service.create("run", components={"value": {"neighbours": neighbours, "temperature": 0.1}}, **CONFIG)
        for _ in range(30):
            answer = service.reward(**world.request())
            world.write()
            for item, row in enumerate(unit(world.rows).astype(np.float64)):
                stored = [
                    (float(row @ one / np.linalg.norm(one) / np.linalg.norm(row)), paid)
                    for side, paid in (("success", 1.0), ("failure", 0.0))
                    for _, one in world.without_held(side, item)
                ]
                near = sorted(stored, reverse=True)[:neighbours]
                kernel = [math.exp(cosine / 0.1) for cosine, _ in near]
                expected = sum(weight * paid for weight, (_, paid) in zip(kernel, near, strict=True)) / sum(kernel)
                assert answer["components"]["value"]["raw"][item] == pytest.approx(expected, abs=1e-6)


def test_value_of_no_items_is_empty() -> None:
    with InProcess("memory:") as service:
        service.create("run", components={"value": 1.0}, **CONFIG)
        service.reward(**World(8).request())
        nothing: dict[str, Any] = {"prompts": [], "completions": [], "outcomes": []}
        assert service.reward(run_id="run", **nothing)["components"]["value"] == {"raw": [], "scaled": []}


def test_error_cluster_counts_the_failures_of_the_same_prompt_that_a_wrong_item_repeats() -> None:
    world, paid = World(1), set()
    with InProcess("memory:") as service:
        service.create("run", components={"error_cluster": {"alpha": 0.1, "beta": 0.2, "similarity": 0.8}}, **CONFIG)
        for _ in range(40):
            answer = service.reward(**world.request())
            world.write()
            for item, row in enumerate(unit(world.rows).astype(np.float64)):
                own = [one for prompt, one in world.without_held("failure", item) if prompt == world.asked[item]]
                alike = sum(float(row @ one / np.linalg.norm(one)) >= 0.8 for one in own)
                expected = 0.0 if world.outcomes[item] > 0.5 else -min(0.1 * math.log(alike + 1), 0.2)
                assert answer["components"]["error_cluster"]["raw"][item] == pytest.approx(expected, abs=1e-9)
                paid.add(round(expected, 3))
    assert len(paid) > 3


@pytest.mark.parametrize("order", slow_after(1, ["hold_one_out", "read_first"]))
def test_outcome_ucb_counts_answers_by_prompt_and_keeps_the_counts_over_a_restart(tmp_path: Path, order: str) -> None:
    world = World(2)
    service = InProcess(f"sqlite:///{tmp_path}")
    service.create("run", components={"outcome_ucb": 1.0}, order=order, **CONFIG)
    for turn in range(30):
        request = world.request()
        before = {prompt: Counter(counts) for prompt, counts in world.answers.items()}
        answer = service.reward(**request)
        world.write()
        among = Counter(zip(world.asked, world.said, strict=True))
        for prompt, said, raw in zip(world.asked, world.said, answer["components"]["outcome_ucb"]["raw"], strict=True):
            seen = before.get(prompt, Counter())[said] + (among[prompt, said] if order == "hold_one_out" else 1)
            assert raw == pytest.approx(min(1, math.sqrt(1 / seen)) - 0.5, abs=1e-12)
        if turn % 10 == 4:
            digest = service.info("run").digest
            service.close()
            service = InProcess(f"sqlite:///{tmp_path}")
            assert service.info("run").digest == digest
    service.close()


def test_group_components_and_random_are_not_scaled() -> None:
    world = World(3)
    names = ["banded_novelty", "partition", "random"]
    with InProcess("memory:") as service:
        service.create("run", components=dict.fromkeys(names, 1.0), **CONFIG)
        answer = service.reward(**world.request())
        world.write()
        for name in names:
            values = answer["components"][name]
            assert values["raw"] == values["scaled"]
        novelty, right = np.array(answer["components"]["banded_novelty"]["raw"]), world.outcomes > 0.5
        assert (novelty[right] >= 0.5).all()
        assert (novelty[~right] <= -0.5).all()
        assert (np.array(answer["components"]["partition"]["raw"])[~right] == 0).all()
        again = service.reward(**world.request())
        assert again["components"]["random"]["raw"] != answer["components"]["random"]["raw"]


def test_labels_decide_the_classes_of_partition() -> None:
    world = World(4)
    with InProcess("memory:") as service:
        service.create("run", components={"partition": 1.0}, **CONFIG)
        request = world.request(labels=["a", "a", "a", "b", "a", None, None, "b"]) | {"outcomes": [1.0] * 8}
        raw = service.reward(**request)["components"]["partition"]["raw"]
    assert raw[:5] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1, 1])
    assert raw[5:] == [None, None, pytest.approx(1)]  # who has no label is in no class


def test_shuffled_gives_the_values_of_exploit_to_other_items() -> None:
    world, moved = World(5), 0
    with InProcess("memory:") as service, InProcess("memory:") as plain:
        service.create("run", preset="shuffled", **CONFIG)
        plain.create("run", preset="memory-r", **CONFIG)
        for _ in range(10):
            request = world.request()
            raw = service.reward(**request)["components"]["shuffled"]["raw"]
            exploit = plain.reward(**request)["components"]["exploit"]["raw"]
            assert sorted(map(str, raw)) == sorted(map(str, exploit))
            moved += raw != exploit
    assert moved > 5


def test_the_reward_is_the_weighted_sum_of_the_scaled_values() -> None:
    world = World(6)
    weights = {"exploit": 1.0, "explore": 0.5, "contrast": 2.0, "error_cluster": 3.0, "random": -0.1}
    with InProcess("memory:") as service:
        service.create("run", components=weights, **CONFIG)
        for _ in range(12):
            answer = service.reward(**world.request())
            total = sum(weight * np.array(answer["components"][name]["scaled"]) for name, weight in weights.items())
            assert answer["rewards"] == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("wrong", [{"preset": "official-memory-r+"}, {"barrier": "snapshot", "group_size": 4}])
def test_components_and_guards_that_an_order_or_barrier_cannot_serve_are_refused(wrong: dict[str, Any]) -> None:
    with InProcess("memory:") as service:
        for components in ({"contrast": 1.0}, {"exploit": {"guards": {"mixed_groups_only": True}}}):
            with pytest.raises(InvalidRequest):
                service.create("run", components=components, **wrong)
        with pytest.raises(InvalidRequest):
            service.create("run", max_spread=0.5, **wrong)
