"""Audits of whole runs: healthy ones fire none, and each kind of collapse fires its own."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient
from memr_client.errors import UnknownRun
from memr_client.schemas import Audits

D, G, WINDOW = 64, 8, 256
STEPS = 120


class Policy:
    """Writes completions near their prompt, in its own words; right ones lie a little towards one direction."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.prompts = self.rows(40)
        self.right = self.rows(1)[0]

    def rows(self, n: int) -> np.ndarray:
        rows = self.rng.normal(size=(n, D))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def step(self, number: int, **changed: Any) -> dict[str, Any]:
        """A step's request: two groups; `changed` columns take the place of the healthy ones."""
        which = np.repeat(self.rng.choice(40, size=2, replace=False), G)
        outcomes = (self.rng.random(2 * G) < 0.4).astype(float)
        completions = self.prompts[which] + self.rows(2 * G) + 0.3 * outcomes[:, None] * self.right
        fields = {
            "prompts": [f"prompt {one}" for one in which],
            "completions": ["x" * int(length) for length in self.rng.integers(80, 120, size=2 * G)],
            "outcomes": outcomes.tolist(),
            "embeddings": {"prompts": self.prompts[which], "completions": completions},
            "step": number,
        }
        return fields | {name: make(fields, which) for name, make in changed.items()}


def audited(seed: int = 0, config: dict[str, Any] | None = None, **late: Any) -> Audits:
    """A run whose second half has other columns."""
    policy = Policy(seed)
    with RewardClient.embedded(run="run", encoder="hashed", audits={"window": WINDOW, "least": 64}) as client:
        client.create_run(**({"explore_warmup_steps": 10} | (config or {})))
        for number in range(STEPS):
            client.reward(**policy.step(number, **(late if number >= STEPS // 2 else {})))
        return client.audits()


def out_of_bounds(audits: Audits, *states: str) -> set[str]:
    return {f"{one.name} {one.about}".strip() for one in audits.audits if one.state in (states or ("warn", "alarm"))}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_a_healthy_run_fires_no_audit(seed: int) -> None:
    audits = audited(seed)
    assert out_of_bounds(audits) == set()
    assert out_of_bounds(audits, "unknown") == {"truncation", "plan_calibration"}


def same_words(fields: dict[str, Any], which: np.ndarray) -> dict[str, Any]:
    prompts = fields["embeddings"]["prompts"]
    template = np.random.default_rng(99).normal(size=D) / 4
    return {"prompts": prompts, "completions": template + 0.05 * np.random.default_rng(len(which)).normal(size=(16, D))}


def siblings_alike(fields: dict[str, Any], which: np.ndarray) -> dict[str, Any]:
    prompts = fields["embeddings"]["prompts"]
    return {"prompts": prompts, "completions": prompts + 0.02 * np.random.default_rng(7).normal(size=(16, D))}


COLLAPSES = [
    pytest.param(names, late, id=", ".join(names), marks=marks)
    for names, late, marks in (
        (["length_short"], {"completions": lambda fields, which: ["x" * 9] * 16}, pytest.mark.slow),
        (["length_long"], {"completions": lambda fields, which: ["x" * 900] * 16}, pytest.mark.slow),
        (["truncation"], {"truncated": lambda fields, which: [True] * 16}, pytest.mark.slow),
        (["zero_variance", "memory_share"], {"outcomes": lambda fields, which: [0.0] * 16}, pytest.mark.slow),
        (["template"], {"embeddings": same_words}, pytest.mark.slow),
        (
            ["diversity", "repeated_failures", "reward_mode exploit", "explore_drift explore"],
            {"embeddings": siblings_alike},
            (),
        ),
    )
]
"""The audits that a collapse must alarm, and the columns that collapse."""


@pytest.mark.slow
@pytest.mark.parametrize(("names", "late"), COLLAPSES)
def test_a_collapse_alarms(names: list[str], late: dict[str, Any]) -> None:
    audits = audited(**late)
    assert set(names) <= out_of_bounds(audits, "alarm")
    assert all(one.remedy for one in audits.audits)


@pytest.mark.slow
def test_changes_while_the_outcome_rises_are_no_collapse() -> None:
    learned = {"outcomes": lambda fields, which: [1.0] * 12 + [0.0] * 4, "embeddings": siblings_alike}
    audits = audited(**learned)
    assert audits.recent is not None
    assert audits.baseline is not None
    assert audits.recent.outcome > audits.baseline.outcome + 0.2
    changed = {one.name: one for one in audits.audits if one.name in ("diversity", "reward_mode", "explore_drift")}
    assert {one.state for one in changed.values()} == {"ok"}
    assert (changed["diversity"].value or 1) < 0.5


@pytest.mark.slow
def test_failures_that_repeated_from_the_start_fire_no_audit() -> None:
    policy = Policy(0)
    with RewardClient.embedded(run="run", encoder="hashed", audits={"window": WINDOW, "least": 64}) as client:
        client.create_run(explore_warmup_steps=10)
        for number in range(STEPS):
            client.reward(**policy.step(number, embeddings=siblings_alike))
        (found,) = (one for one in client.audits().audits if one.name == "repeated_failures")
    assert (found.value, found.state) == (1.0, "ok")


@pytest.mark.slow
def test_a_ranking_that_was_learned_is_no_leak() -> None:
    """Right ones are all alike in the end, and far from the wrong ones: exploit ranks them without fail."""

    def apart(fields: dict[str, Any], which: np.ndarray) -> dict[str, Any]:
        prompts, right = fields["embeddings"]["prompts"], np.array(fields["outcomes"])[:, None]
        noise = 0.3 * np.random.default_rng(3).normal(size=(16, D)) / 8
        return {"prompts": prompts, "completions": np.where(right > 0, prompts, -prompts) + noise}

    audits = audited(embeddings=apart)
    assert audits.recent is not None
    assert audits.recent.auc["exploit"] == 1
    assert not {"auc_leak exploit"} & out_of_bounds(audits)


@pytest.mark.slow
def test_a_component_that_is_the_whole_reward_alarms() -> None:
    audits = audited(config={"components": {"exploit": 100.0, "explore": 1.0}})
    assert "component_share exploit" in out_of_bounds(audits, "alarm")


@pytest.mark.slow
def test_the_released_codes_order_is_a_leak() -> None:
    audits = audited(config={"preset": "official-memory-r+", "explore_warmup_prompts": 0})
    assert "auc_leak explore" in out_of_bounds(audits, "alarm")


def test_component_shares_are_unknown_while_a_component_warms_up() -> None:
    policy = Policy(9)
    with RewardClient.embedded(run="run", encoder="hashed", audits={"window": WINDOW, "least": 64}) as client:
        client.create_run(explore_warmup_steps=20)
        for number in range(24):
            client.reward(**policy.step(number))
        warming, mixed = client.audits(at=20), client.audits(at=24)
    assert "component_share" in out_of_bounds(warming, "unknown")
    assert mixed.recent is not None
    assert 0.3 < mixed.recent.shares["explore"] < 0.7


@pytest.mark.slow
def test_an_earlier_position_is_audited_as_it_was_then() -> None:
    policy = Policy(5)
    with RewardClient.embedded(run="run", encoder="hashed", audits={"window": WINDOW, "least": 64}) as client:
        client.create_run(explore_warmup_steps=10)
        with pytest.raises(UnknownRun):
            client.audits("another")
        assert client.audits().recent is None
        for number in range(STEPS):
            short = {"completions": lambda fields, which: ["x"] * 16} if number >= 60 else {}
            client.reward(**policy.step(number, **short))
        early, now = client.audits(at=50), client.audits()
        assert early.recent is not None
        assert early.baseline is not None
        assert now.recent is not None
        assert (early.recent.first_position, early.recent.position, early.recent.step) == (35, 50, 49)
        assert early.recent.completions == now.recent.completions == WINDOW
        assert "length_short" not in out_of_bounds(early)
        assert "length_short" in out_of_bounds(now, "alarm")
        # explore was off for 10 steps: its first values are those of the 10 records after
        assert early.baseline.position == 16
        assert early.baseline.raw["explore"] is not None


def test_a_stretch_has_as_few_records_as_needed() -> None:
    policy = Policy(10)
    with RewardClient.embedded(run="run", encoder="hashed", audits={"window": 40, "least": 16}) as client:
        client.create_run()
        for number in range(40):
            client.reward(**policy.step(number))
        audits = client.audits()
    assert audits.baseline is not None
    assert audits.recent is not None
    assert (audits.baseline.first_position, audits.baseline.position) == (1, 3)
    assert (audits.recent.first_position, audits.recent.position, audits.recent.completions) == (38, 40, 48)


def test_a_short_run_is_not_judged() -> None:
    policy = Policy(6)
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run()
        client.reward(**policy.step(0, outcomes=lambda fields, which: [0.0] * 16))
        assert {(one.state, one.waits_for) for one in client.audits().audits} == {
            ("unknown", "496 more completions; it takes 512")
        }


@pytest.mark.slow
def test_a_stretch_is_not_compared_with_itself() -> None:
    policy = Policy(8)
    with RewardClient.embedded(run="run", encoder="hashed", audits={"window": 64, "least": 16}) as client:
        client.create_run(explore_warmup_steps=0)
        waits = []
        for number in range(9):
            client.reward(**policy.step(number))
            found = {one.name: one for one in client.audits().audits}
            assert (found["length_short"].baseline is None) == (found["length_short"].state == "unknown")
            waits.append(found["diversity"].waits_for.partition(": ")[2])
    assert waits == [*(f"about {128 - 16 * number} more" for number in range(1, 8)), "", ""]


@pytest.mark.slow
def test_audits_name_the_side_of_their_limits_and_the_worst_comes_first() -> None:
    found = audited(outcomes=lambda fields, which: [0.0] * 16, truncated=lambda fields, which: [True] * 16).audits
    sides = {one.name: (one.beyond, one.warn, one.limit) for one in found}
    assert sides["length_short"] == ("below", 0.7, 0.5)
    assert sides["zero_variance"] == ("above", 0.75, 0.9)
    states = [one.state for one in found]
    assert states == sorted(states, key=["alarm", "warn", "ok", "unknown"].index)
    alarms = [abs((one.value or 0) - one.limit) / abs(one.limit - (one.warn or 0)) for one in found[:2]]
    assert states[:2] == ["alarm", "alarm"]
    assert alarms[0] >= alarms[1]
    assert all(bool(one.waits_for) == (one.state == "unknown") for one in found)


def test_provenance_names_config_encoder_versions_and_chain() -> None:
    policy = Policy(7)
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run(k=3)
        client.reward(**policy.step(0))
        origin, info = client.provenance(), client.run()
    assert (origin.config, origin.chain, origin.encoder) == (info.config, info.chain, info.encoder)
    assert (origin.completions, origin.position, origin.dimension) == (16, 1, D)
    assert len(origin.config_sha256) == 64
    assert {"python", "numpy"} <= origin.versions.keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:memr. run 'bad'. all rewards")
@pytest.mark.parametrize("label", [False, True])
def test_the_metrics_count_the_alarms_of_open_runs(label: bool) -> None:
    policy = Policy(8)
    with RewardClient.embedded(encoder="hashed", audits={"window": WINDOW, "least": 64}, run_label=label) as client:
        for run in ("good", "bad", "gone"):
            client.create_run(run, explore_warmup_steps=10)
            for number in range(40):
                late = {"outcomes": lambda fields, which: [0.0] * 16} if run == "bad" else {}
                client.reward(run_id=run, **policy.step(number, **late))
        alarms = sum(one.state == "alarm" for one in client.audits("bad").audits)
        assert alarms >= 2
        assert gauges(client) == ({"good": 0, "bad": alarms, "gone": 0} if label else {"": alarms})
        client.delete_run("gone")
        assert gauges(client) == ({"good": 0, "bad": alarms} if label else {"": alarms})


def gauges(client: RewardClient) -> dict[str, float]:
    """Run ("" where series carry no name) -> its gauge."""
    shown = client._pool().get("/metrics").text
    found = re.findall(r'^memr_audits_firing(?:\{run="(.*)"\})? (\S+)$', shown, re.MULTILINE)
    return {run: float(value) for run, value in found}
