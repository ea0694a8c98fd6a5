"""Repairs are equal on every store and replica, and a run that repairs is done again bit for bit."""

from __future__ import annotations

import lzma
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient
from memr_client.errors import InvalidRequest
from memr_client.schemas import RewardResponse
from support.redis_server import fresh

OLD = Path(__file__).parents[1] / "data" / "old"
CONFIG: dict[str, Any] = {"preset": "memory-r+", "explore_warmup_steps": 0}
REFERENCES = ["7", "2", "9"]
"""The first and the last one are wrong."""
SAID = ["6", "2", "4"]


def step(client: RewardClient, number: int, **fields: Any) -> RewardResponse:
    """A group of six for each of three prompts; most completions of a prompt agree."""
    rng = np.random.default_rng(number)
    items = np.repeat(np.arange(3), 6).tolist()
    said = [SAID[item] if rng.random() < 0.9 else REFERENCES[item] for item in items]
    references = [REFERENCES[item] for item in items]
    return client.reward(
        [f"prompt {item}" for item in items],
        [f"It is {one}." for one in said],
        [float(one == reference) for one, reference in zip(said, references, strict=True)],
        **{"step": number, "part": 0, "parts": 1},
        answers=said,
        references=references,
        embeddings={"prompts": np.eye(8)[items], "completions": rng.normal(size=(len(items), 8))},
        **fields,
    )


def trained(client: RewardClient, steps: int = 6, run: str = "run", **config: Any) -> list[RewardResponse]:
    client.create_run(run, **{**CONFIG, **config})
    return [step(client, number, run_id=run) for number in range(steps)]


def test_both_stores_and_both_replicas_repair_alike(tmp_path: Path) -> None:
    shared = fresh()
    with ExitStack() as opened:
        services = [
            opened.enter_context(RewardClient.embedded(url, run="run", encoder="hashed"))
            for url in ("memory:", f"sqlite:///{tmp_path}", shared)
        ]
        answers = [trained(client, repair={"mode": "replace"}) for client in services]
        replica = opened.enter_context(RewardClient.embedded(shared, run="run", encoder="hashed"))
        found = [step(client, 6) for client in (*services[:2], replica)]
        assert len({tuple(one.outcomes_used or ()) for one in found}) == 1
        assert len({one.chain for one in found}) == 1
        assert [[one.repaired for one in some] for some in answers] == [[one.repaired for one in answers[0]]] * 3
        newest = found[0].repaired or []
        assert [why is not None for why in newest] == [True] * 6 + [False] * 6 + [True] * 6
        assert len({client.run("run", digest=True).digest for client in (*services, replica)}) == 1


@pytest.mark.parametrize("mode", ["mask", "replace"])
@pytest.mark.parametrize("fields", [{}, {"barrier": "step"}, {"barrier": "snapshot", "group_size": 6}])
def test_a_run_is_done_again_bit_for_bit_and_under_other_gates(
    tmp_path: Path, mode: str, fields: dict[str, Any]
) -> None:
    with RewardClient.embedded(f"sqlite:///{tmp_path}", run="run", encoder="hashed") as client:
        client.create_run("run", repair={"mode": mode}, **CONFIG, **fields)
        for number in range(6):
            answer = step(client, number)
            if number == 3:
                client.create_checkpoint("run", "here")
        assert any(answer.repaired or [])
        other = {"mode": "replace" if mode == "mask" else "mask"}
        same, off, changed = client.replay("run", [{}, {"repair": None}, {"repair": other}]).settings
        assert same.difference is None
        assert (same.correlation, same.chain) == (pytest.approx(1.0), answer.chain)
        assert (off.changed, changed.changed.keys()) == ({"repair": None}, {"repair"})
        assert off.correlation != same.correlation
        client.export_run("run", tmp_path / "run.memr")
        client.import_run("copy", tmp_path / "run.memr")
        client.fork("run", "fork")
        digests = {client.run(name, digest=True).digest for name in ("run", "copy", "fork")}
        assert len(digests) == 1
        client.create_run("plain", **CONFIG, **fields)
        for number in range(6):
            step(client, number, run_id="plain")
        assert client.run("plain", digest=True).digest not in digests
        client.restore("run", "here")
        assert [step(client, number).repaired for number in (4, 5)][-1] == answer.repaired
        assert client.run("run", digest=True).digest in digests
    with RewardClient.embedded(f"sqlite:///{tmp_path}", run="run", encoder="hashed") as client:
        assert client.run("run", digest=True).digest in digests


def test_a_bounded_journal_is_replayed_under_its_own_gates_only(tmp_path: Path) -> None:
    bounded = {"run": "run", "encoder": "hashed", "snapshot_bytes": 1 << 16, "journal_bytes": 1 << 17}
    with RewardClient.embedded(f"sqlite:///{tmp_path}", **bounded) as client:
        trained(client, 120, repair={})
        assert client.replay("run").first_position > 1
        assert client.replay("run").settings[0].difference is None
        with pytest.raises(InvalidRequest, match="repair"):
            client.replay("run", [{"repair": None}])


def test_a_run_that_keeps_no_answers_cannot_repair(tmp_path: Path) -> None:
    file = tmp_path / "plain.memr"
    file.write_bytes(lzma.decompress((OLD / "plain.memr.xz").read_bytes()))
    with RewardClient.embedded(encoder="hashed") as client:
        client.import_run("old", file)
        with pytest.raises(InvalidRequest, match="repair needs answers, but the run was created under law 1"):
            client.replay("old", [{"repair": {}}])


def test_a_prior_run_counts_with_the_outcomes_that_count(tmp_path: Path) -> None:
    with RewardClient.embedded(f"sqlite:///{tmp_path}", run="run", encoder="hashed") as client:
        trained(client, repair={"mode": "replace"})
        client.create_checkpoint("run", "here")
        for name, at in (("live", "last"), ("folded", "here")):
            client.create_run(name, prior_runs=[{"run": "run", "at": at}], **CONFIG)
        rates = [step(client, 0, run_id=name, mode="eval").baseline for name in ("live", "folded")]
        assert rates[0] == rates[1]
        assert rates[0] is not None
        assert rates[0][0] is not None
        assert rates[0][0] > 0.5  # by the reference it would be near 0
