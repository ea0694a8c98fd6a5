"""The benchmarks' baselines follow the equations, and their counts are right."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import islice

import numpy as np
import pytest
from memr_service.engine.inputs import identity
from memr_service.memory.prompt_index import SIZES
from support.in_process import InProcess

from benchmarks import hops
from benchmarks.bench import grown
from benchmarks.bench.figures import figure
from benchmarks.bench.singly import Singly
from benchmarks.bench.store import STORES, empty_store
from benchmarks.bench.trace import requests


class Counting:
    """An encoder that counts texts; a text's vector comes from its letters."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, text: str, *, show_progress_bar: bool) -> np.ndarray:
        self.encoded.append(text)
        row = np.bincount([ord(letter) % 26 for letter in text], minlength=26).astype(np.float32)
        return row / np.linalg.norm(row)


def test_the_plain_implementation_encodes_six_texts_for_a_completion() -> None:
    model = Counting()
    singly = Singly(model, k=1)
    singly.reward("question", "answer", 1.0)
    assert sorted(model.encoded) == ["answer"] * 3 + ["question"] * 3


def test_the_plain_implementation_follows_the_equations() -> None:
    model = Counting()
    singly = Singly(model, k=1)
    for completion, outcome in (("ab", 1.0), ("bc", 1.0), ("xy", 0.0), ("xz", 0.0)):
        singly.reward("question", completion, outcome)
    vector = {text: model.encode(text, show_progress_bar=False) for text in ("ab", "bc", "xy", "xz", "ax")}
    exploit, explore = singly.exploit("question", "ax"), singly.explore("question", "ax")
    assert exploit == pytest.approx(-np.linalg.norm(vector["ax"] - (vector["ab"] + vector["bc"]) / 2))
    assert explore == pytest.approx(1 - max(vector["ax"] @ vector["xy"], vector["ax"] @ vector["xz"]))


@pytest.mark.parametrize("group", [4, 16])
def test_requests_have_64_completions_in_groups_and_no_text_twice(group: int) -> None:
    made = list(islice(requests(group), 5))
    assert all(len(one.prompts) == len(one.completions) == len(one.outcomes) == 64 for one in made)
    groups = [one.prompts[start : start + group] for one in made for start in range(0, 64, group)]
    assert all(len(set(prompts)) == 1 for prompts in groups)
    assert len({prompts[0] for prompts in groups}) == len(groups)


@pytest.mark.parametrize("store", STORES)
def test_a_grown_store_is_served_like_any_other(store: str) -> None:
    vectors = grown.questions(300, seed=2).take(1).tolist()
    with ExitStack() as opened:
        url = opened.enter_context(empty_store(store)).url
        grown.store(url, 300, [identity(grown.name(number), None) for number in range(300)])
        service = opened.enter_context(InProcess(url))
        columns = {"completions": ["an answer"], "outcomes": [1.0]}
        sent = {"prompts": vectors, "completions": vectors}
        answer = service.reward(run_id=grown.RUN, prompts=[grown.name(7)], embeddings=sent, **columns)
        assert answer["support"]["success"] == [1]
        answer = service.reward(run_id=grown.RUN, prompts=["unseen"], embeddings=sent, **columns)
        assert answer["memory"]["success"] == {"prompts": 300, "completions": 301}


def test_a_grown_memory_has_the_graphs_that_it_would_have() -> None:
    assert grown.grown(SIZES.crossover - 64) == []
    ranges = grown.grown(120_000)
    assert [start for start, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])]
    assert 0 <= 120_000 - ranges[-1][1] < SIZES.step


def test_a_sample_counts_for_the_innermost_function_of_memr_that_works() -> None:
    loop = "Runner.run (asyncio/runners.py:118)"
    encode = "Encoder.encode (memr_service/encoder/sentence_transformer.py:9);linear (torch/nn/functional.py:5)"
    commit = "Run.reward (memr_service/run/run.py:80);Database.write (memr_service/store/sqlite/database.py:90)"
    found = hops.hops([f"{loop} 50", f"{loop};{encode} 3", f"{loop};{commit} 2", f"{loop};epoll (somewhere.py:1) 1"])
    assert found == {"encoder": 3, "store": 2, "other": 1}


def test_a_figure_is_the_median_and_says_when_it_misses_its_floor() -> None:
    assert "MISSED" in str(figure("speed", [3.0, 1.0, 2.0], "x", "", floor=2.5))
    least = figure("size", [3.0, 1.0, 2.0], "x", "", floor=2.5, at_most=True)
    assert (least.row.value, least.low, least.high) == (2.0, 1.0, 3.0)
    assert "holds" in str(least)
