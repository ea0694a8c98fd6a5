"""A map's clusters: which completions lie together, and the words that name them."""

from __future__ import annotations

import numpy as np
import pytest
from memr_service.insight.dashboard.clusters import LEAST, MOST, clusters, names


def groups(sizes: list[int], d: int = 6) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.concatenate([10 * np.eye(d)[number] + rng.normal(0, 0.1, (size, d)) for number, size in enumerate(sizes)])


def test_groups_that_lie_apart_are_clusters_the_largest_first() -> None:
    numbers = clusters(groups([LEAST // 2, 2 * LEAST - LEAST // 2]).astype(np.float32))
    assert numbers.tolist() == [1] * (LEAST // 2) + [0] * (2 * LEAST - LEAST // 2)


def test_clusters_are_the_same_again_and_not_too_many() -> None:
    vectors = np.random.default_rng(2).normal(size=(300, 5)).astype(np.float32)
    numbers = clusters(vectors)
    assert numbers.tolist() == clusters(vectors).tolist()
    sizes = np.bincount(numbers)
    assert len(sizes) <= MOST
    assert sizes.tolist() == sorted(sizes, reverse=True)


@pytest.mark.parametrize("m", [1, 2, LEAST, 2 * LEAST])
def test_few_or_equal_vectors_are_clustered_too(m: int) -> None:
    numbers = clusters(np.ones((m, 3), np.float32))
    assert numbers.tolist() == [0] * m


def test_a_cluster_is_named_by_words_that_are_commoner_in_it() -> None:
    texts = ["The apple and the pear", "One apple", "An apple falls", "The wheel and the road", "A wheel turns", None]
    found = names(np.array([0, 0, 0, 1, 1, 1]), texts)
    assert [one[0] for one in found] == ["apple", "wheel"]
    assert "the" not in {word for one in found for word in one}


def test_clusters_without_texts_have_no_words() -> None:
    assert names(np.array([0, 1]), [None, None]) == [[], []]
