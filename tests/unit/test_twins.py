"""Every component, control and guard equals its plain twin on a thousand random groups; -s prints the differences."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from memr_service.engine.text_thread import at_once
from memr_service.rewards.components import (
    banded_novelty,
    contrast,
    error_cluster,
    outcome_ucb,
    partition,
    random,
    shuffled,
    value,
)
from memr_service.rewards.guards import (
    anneal,
    cap,
    copied_share,
    foreign_stretches,
    mixed_groups_only,
    rank,
    repeated_share,
    spread_cap,
    trimmed,
)
from support import plain_components as plain
from support.groups import GROUPS, Request, compare, largest_difference, means, requests

pytestmark = pytest.mark.hypothesis


@pytest.mark.slow
def test_error_cluster_equals_its_plain_twin() -> None:
    def difference(request: Request) -> float:
        held = request.rng.integers(-1, max(len(request.failures), 1), size=len(request.a))
        held = held if len(request.failures) else np.full(len(request.a), -1)
        beta, similarity = float(request.rng.choice([0.2, 1.0])), request.rng.uniform(0.3, 1)
        columns = [one.tolist() for one in (request.a, request.failures, held, ~request.right)]
        slow = plain.error_cluster(*columns, 0.1, beta, similarity)
        fast = error_cluster(request.a, request.failures, held, ~request.right, beta=beta, similarity=similarity)
        return largest_difference(fast, slow)

    compare("error_cluster", map(difference, requests()))


def test_banded_novelty_equals_its_plain_twin() -> None:
    def difference(request: Request) -> float:
        flat = float(request.rng.choice([1e-6, 0.1]))
        fast = banded_novelty(request.a, request.group, request.right, flat=flat)
        return largest_difference(
            fast, plain.banded_novelty(request.a.tolist(), request.group.tolist(), request.right.tolist(), flat)
        )

    compare("banded_novelty", map(difference, requests()))


def test_contrast_equals_its_plain_twin() -> None:
    def difference(request: Request) -> float:
        good, bad = request.a[request.right].tolist(), request.a[~request.right].tolist()
        return largest_difference(contrast(request.a, *means(request)), plain.contrast(request.a.tolist(), good, bad))

    compare("contrast", map(difference, requests()))


def test_value_equals_its_plain_twin() -> None:
    def difference(request: Request) -> float:
        n, j, temperature = len(request.a), int(request.rng.integers(0, 12)), float(request.rng.choice([0.05, 0.5]))
        similarity = np.where(request.rng.random((n, j)) < 0.3, -np.inf, request.rng.uniform(-1, 1, size=(n, j)))
        outcome = request.rng.normal(size=(n, j))
        fast = value(similarity, outcome, temperature=temperature)
        return largest_difference(fast, plain.value(similarity.tolist(), outcome.tolist(), temperature))

    compare("value", map(difference, requests()))


def test_outcome_ucb_equals_its_plain_twin() -> None:
    def difference(request: Request) -> float:
        answers = [None if one < 0 else str(one) for one in request.rng.integers(-1, 4, size=len(request.a))]
        history = [str(one) for one in request.rng.integers(4, size=20)]
        seen = np.array([math.nan if answer is None else 1 + history.count(answer) for answer in answers])
        return largest_difference(outcome_ucb(seen, baseline=0.4), plain.outcome_ucb(answers, history, 0.4))

    compare("outcome_ucb", map(difference, requests()))


@pytest.mark.parametrize("labelled", [True, False])
def test_partition_equals_its_plain_twin(labelled: bool) -> None:
    def difference(request: Request) -> float:
        label = request.rng.integers(-1, 4, size=len(request.a)) if labelled else None
        similarity, floor = request.rng.uniform(0.3, 1), float(request.rng.choice([0.0, 0.1]))
        fast = partition(label, request.a, request.group, request.outcome, similarity=similarity, floor=floor)
        numbers = None if label is None else label.tolist()
        columns = request.a.tolist(), request.group.tolist(), request.outcome.tolist()
        return largest_difference(fast, plain.partition(numbers, *columns, similarity, floor))

    compare(f"partition{' by labels' if labelled else ''}", map(difference, requests()))


def test_the_controls_equal_their_plain_twins() -> None:
    def difference(request: Request) -> float:
        seed, position = int(request.rng.integers(-5, 2**40)), int(request.rng.integers(2**40))
        serials, values = position + np.arange(len(request.a)), request.column(missing=0.3)
        return max(
            largest_difference(random(seed, serials), plain.random(seed, serials.tolist())),
            largest_difference(shuffled(values, seed, position), plain.shuffled(values.tolist(), seed, position)),
        )

    compare("random and shuffled", map(difference, requests()))


def test_the_guards_equal_their_plain_twins() -> None:
    def differences(request: Request) -> Iterator[float]:
        bonus, outcome, group, share = request.column(), request.outcome, request.group, request.rng.uniform(0, 2)
        columns = bonus.tolist(), outcome.tolist(), group.tolist()
        yield largest_difference(cap(bonus, outcome, share), plain.cap(*columns[:2], share))
        yield largest_difference(spread_cap(bonus, outcome, group, share), plain.spread_cap(*columns, share))
        mixed = mixed_groups_only(outcome, group, 0.5)
        yield largest_difference(mixed, plain.mixed_groups_only(*columns[1:], 0.5))
        raw = np.where(request.rng.random(len(bonus)) < 0.2, np.nan, bonus.round(1))
        window = request.rng.normal(size=request.rng.integers(0, 130)).round(1) * request.rng.choice([0, 1])
        for scaled, twin in ((trimmed, plain.trimmed), (rank, plain.rank)):
            yield largest_difference(scaled(window, raw), twin(window.tolist(), raw.tolist()))
        step, start, length = request.rng.integers(0, 100, size=3).tolist()
        yield abs(anneal(step, start, start + length + 1) - plain.anneal(step, start, start + length + 1))

    compare("guards", (one for request in requests() for one in differences(request)))


def test_the_repeated_share_equals_its_plain_twin() -> None:
    rng = np.random.default_rng(0)
    words = ["the", "answer", "is", "42", "because", "\u4e8c\u5341", "=", "0.333333333333333333333333333333"]
    texts = [" ".join(rng.choice(words[: rng.integers(1, 9)], size=rng.integers(0, 60))) for _ in range(GROUPS)]
    texts += ["", "short", "x" * 15, "x" * 16, "x" * 17, "\ud800" * 30]
    compare("repeated_share", (abs(repeated_share(text) - plain.repeated_share(text)) for text in texts))


@pytest.mark.slow
def test_text_overlap_equals_its_plain_twins() -> None:
    rng = np.random.default_rng(1)
    words = ["apples", "pears", "so", "7 + 5 = 12", "\u4e8c\u5341\u4e2a\u82f9\u679c", "lorem ipsum dolor", "x", ""]

    def differences() -> Iterator[float]:
        for _ in range(GROUPS):
            texts = [" ".join(rng.choice(words, size=rng.integers(0, 12))) for _ in range(rng.integers(1, 9))]
            prompts = [" ".join(rng.choice(words, size=rng.integers(0, 6))) for _ in texts]
            group = rng.integers(0, 3, size=len(texts))
            fast = at_once(foreign_stretches(texts, prompts, group))
            yield largest_difference(fast, plain.foreign_stretches(texts, prompts, group.tolist()))
            yield abs(copied_share(texts[0], prompts[0]) - plain.copied_share(texts[0], prompts[0]))

    compare("copied and foreign", differences())
