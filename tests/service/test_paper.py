"""The service against the oracle (`paper.py`): long random histories with caller-sent embeddings."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from memr_client.schemas import RunConfig
from memr_service.engine import inputs
from memr_service.memory import GraphSizes
from memr_service.state.state import State
from support.histories import World, ask_oracle, ask_service, largest_difference
from support.in_process import InProcess
from support.paper import Oracle
from support.paper_official import OfficialOracle
from support.paper_text import completion_text, prompt_text

LENGTHS = [pytest.param(120, id="short"), pytest.param(2_000, id="long", marks=pytest.mark.slow)]
"""Completions of a history."""
TOLERANCE = 1e-5

CONFIGS: dict[str, dict[str, Any]] = {
    "as in the paper": {"k": 1, "max_prompts": 12, "max_completions": 5, "window": 40, "explore_warmup_steps": 10},
    "wide and gated": {
        "k": 4,
        "max_prompts": 18,
        "max_completions": 3,
        "window": 100,
        "scaling": "request",
        "center": "group",
        "success_threshold": 0.7,
        "failure_threshold": 0.3,
        "explore_warmup_steps": 0,
        "explore_warmup_prompts": 6,
        "min_similarity": 0.7,
        "components": {"exploit": 0.5, "explore": -2.0},
    },
    "in half precision": {
        "k": 3,
        "max_prompts": 25,
        "max_completions": 8,
        "window": 7,
        "scaling": "request",
        "storage": "float16",
        "explore_warmup_steps": 25,
        "explore_warmup_prompts": 5,
    },
    "small and crowded": {
        "k": 20,
        "max_prompts": 3,
        "max_completions": 1,
        "window": 7,
        "center": "group",
        "failure_threshold": -0.25,
        "explore_warmup_steps": 0,
        "min_similarity": -0.1,
        "components": {"explore": 1.0},
    },
    "valued by the nearest": {
        "k": 2,
        "max_prompts": 14,
        "max_completions": 6,
        "window": 30,
        "failure_threshold": 0.4,
        "components": {"exploit": 1.0, "value": 2.0},
    },
}


def compare(config: dict[str, Any], oracle: Oracle, world: World, length: int) -> str:
    """Ask both the same until `length` completions are scored, and say how far apart they were."""
    completions, worst = 0, 0.0
    with InProcess("memory:") as service:
        service.create("run", **config)
        while completions < length:
            request = world.request()
            expected = ask_oracle(oracle, request)
            worst = max(worst, largest_difference(ask_service(service, "run", request), expected))
            completions += len(request.ids)
    assert worst <= TOLERANCE
    return f"{completions} completions, largest difference {worst:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("order", ["hold_one_out", "read_first"])
@pytest.mark.parametrize("length", LENGTHS)
def test_with_graphs_the_service_still_answers_what_the_law_says(
    order: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[State] = []

    def small_graphs(config: RunConfig, law: int) -> State:
        states.append(State(config, GraphSizes(24, 8), law))
        return states[-1]

    monkeypatch.setattr("memr_service.run.live_state.State", small_graphs)
    config = {**CONFIGS["valued by the nearest"], "order": order, "max_completions": 9}
    compare(config, Oracle(config), World(seed=3), length)
    indices = {name: index for state in states for name, index in state.indexes.all().items()}
    assert all(index.graphs for name, index in indices.items() if name.endswith("-completions"))
    assert len(indices) == 4


@pytest.mark.parametrize("order", ["hold_one_out", "read_first"])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_service_answers_what_the_law_says(
    name: str, order: str, length: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {**CONFIGS[name], "order": order}
    found = compare(config, Oracle(config), World(seed=len(name)), length)
    with capsys.disabled():
        print(f"\n{name}, {order}: {found}")


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_official_preset_answers_what_the_law_says(k: int, length: int, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"k": k, "max_prompts": 14, "max_completions": 3, "window": 20, "explore_warmup_prompts": 12}
    found = compare({"preset": "official-memory-r+", **config}, OfficialOracle(config), World(seed=k), length)
    with capsys.disabled():
        print(f"\nofficial-memory-r+, k = {k}: {found}")


TAGS = ("<think>", "</think>")


def test_every_arrangement_of_tags_gives_the_text_that_the_law_says() -> None:
    for pieces in (pieces for n in range(7) for pieces in product([*TAGS, " one ", "two"], repeat=n)):
        completion = "".join(pieces)
        assert inputs.completion_text(completion, TAGS) == completion_text(completion, TAGS), completion


@pytest.mark.parametrize("preset", ["memory-r+", "official-memory-r+"])
def test_what_is_encoded_of_chats_and_tagged_texts_is_what_the_law_says(preset: str) -> None:
    asked = [{"type": "text", "text": "What is "}, {"type": "image"}, {"type": "text", "text": "6 x 7?"}]
    chat = [
        {"role": "system", "content": "Think first."},
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "user", "content": asked},
        {"role": "assistant", "content": "<think>"},
    ]
    tagged = ["Six sevens</think> 42", "<think>Six sevens</think> 42", "<think>Sixty-", "41"]
    spoken = [[{"role": "assistant", "content": text}, {"role": "tool", "content": "42"}] for text in tagged]
    same = {"outcomes": [1.0, 1.0, 0.0, 0.0], "prompt_ids": ["6 x 7"] * 4}
    with InProcess("memory:") as service:
        service.create("tagged", preset=preset, explore_warmup_prompts=0, explore_warmup_steps=0, reasoning_tags=TAGS)
        service.create("plain", preset=preset, explore_warmup_prompts=0, explore_warmup_steps=0)
        answer = service.reward(run_id="tagged", prompts=[chat] * 4, completions=spoken, **same)
        plain = [completion_text(completion, TAGS) for completion in spoken]
        expected = service.reward(run_id="plain", prompts=[prompt_text(chat)] * 4, completions=plain, **same)
    assert answer["components"] == expected["components"]
    assert len(set(answer["components"]["explore"]["raw"])) > 1
