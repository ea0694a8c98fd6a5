"""exploit with several centroids and weighted entries, against the plain twin and cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from memr_service.rewards.components.centroids import clusters, exploit_by_centroids, nearest_entry
from memr_service.rewards.components.exploit import exploit
from memr_service.rewards.components.explore import explore
from support import plain_components as plain
from support.groups import Request, compare, largest_difference, requests


def unit(*degrees: float) -> np.ndarray:
    return np.array([[math.cos(math.radians(one)), math.sin(math.radians(one))] for one in degrees], np.float32)


@pytest.mark.hypothesis
def test_exploit_equals_its_plain_twin() -> None:
    def difference(request: Request) -> float:
        rng, m = request.rng, len(request.failures)
        count, fade = rng.integers(1, 4, size=m), rng.choice([1.0, 0.3, 1e-12], size=m)
        held = rng.integers(-1, m, size=len(request.a)) if m else np.full(len(request.a), -1)
        most = int(rng.integers(1, 6))
        columns = [one.tolist() for one in (request.a, request.failures, count, fade, held)]
        return largest_difference(
            exploit_by_centroids(request.a, request.failures, count, fade, held, most), plain.exploit(*columns, most)
        )

    compare("exploit by centroids", map(difference, requests()))


def test_one_centroid_of_equal_weights_is_equation_4() -> None:
    for request in requests(50):
        b, g = request.failures, len(request.a)
        total = np.tile(b.astype(np.float64).sum(axis=0), (g, 1))
        ones = np.ones(len(b))
        alike = exploit_by_centroids(request.a, b, ones.astype(np.int64), ones, np.full(g, -1))
        assert largest_difference(alike, exploit(request.a, total, np.full(g, len(b))).tolist()) < 1e-12


def test_a_second_centroid_serves_a_small_cluster_of_successes() -> None:
    b = unit(0, 2, 4, 6, 90)
    nobody, ones = np.array([-1]), np.ones(5, np.int64)
    one = exploit_by_centroids(unit(90), b, ones, np.ones(5), nobody, 1)
    two = exploit_by_centroids(unit(90), b, ones, np.ones(5), nobody, 2)
    assert two[0] == pytest.approx(0, abs=1e-6)
    assert one[0] < -1


def test_one_completion_of_an_entry_is_held_out_not_the_whole_entry() -> None:
    b, fade = unit(0, 90), np.ones(2)
    alone = exploit_by_centroids(unit(0), b, np.array([1, 1]), fade, np.array([0]))
    repeated = exploit_by_centroids(unit(0), b, np.array([2, 1]), fade, np.array([0]))
    assert alone[0] == pytest.approx(-math.sqrt(2))
    assert repeated[0] == pytest.approx(-math.sqrt(0.5))
    assert np.isnan(exploit_by_centroids(unit(0), b[:1], np.array([1]), fade[:1], np.array([0]))[0])


def test_holding_out_a_heavy_entry_loses_no_digits_of_the_light_ones() -> None:
    b, fade = unit(0, 60, 120), np.array([1.0, 1e-12, 1e-12])
    raw = exploit_by_centroids(unit(90), b, np.ones(3, np.int64), fade, np.array([0]))
    mean = unit(60, 120).astype(np.float64).mean(axis=0)
    assert raw[0] == pytest.approx(-math.dist(unit(90)[0].tolist(), mean.tolist()), abs=1e-9)


def test_the_distance_to_the_nearest_entry_follows_from_its_cosine() -> None:
    novelty = explore(unit(10), unit(0, 70), np.array([-1]), 1e-5)
    assert nearest_entry(novelty)[0] == pytest.approx(-2 * math.sin(math.radians(5)), abs=1e-6)
    assert np.isnan(nearest_entry(np.array([np.nan]))[0])


def test_there_are_at_most_as_many_clusters_as_distinct_entries() -> None:
    b = unit(0, 0, 90, 0, 90)
    assert clusters(b, np.ones(5), 4).tolist() == [0, 0, 1, 0, 1]
    assert clusters(b[:0], np.ones(0), 4).tolist() == []
