"""A run whose unit is the turn is replayed bit for bit, and its unit cannot change in a replay."""

from __future__ import annotations

import pytest
from memr_client import RewardClient
from memr_client.errors import InvalidRequest
from support.turns import CONFIG, send


def test_a_run_of_turns_is_replayed_and_its_unit_stays():
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run(unit="turn", **CONFIG)
        for step in range(3):
            send(client, step=step)
        result = client.replay()
        assert (result.completions, [one.difference for one in result.settings]) == (3 * 8, [None])
        with pytest.raises(InvalidRequest, match="unit"):
            client.replay(settings=[{"unit": "whole"}])
