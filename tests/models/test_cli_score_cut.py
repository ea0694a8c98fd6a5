"""`memr score` says which share of the texts the encoder cuts."""

from __future__ import annotations

from memr_client import RewardClient
from memr_service.cli.rollouts import Rollout
from support.scored import run_score

SENTENCE = "He has twelve apples and gives some of them away, so fewer of them are left than before. "


def test_it_says_which_share_of_the_texts_is_cut():
    rollouts = [Rollout(prompt="q", completion=SENTENCE * times, outcome=times % 2) for times in (1, 2, 40, 41)]
    with RewardClient.embedded(run="run") as client:
        done, _, _ = run_score(client, rollouts)
    (remark,) = [remark for remark in done.remarks() if " texts (" in remark]
    assert remark.startswith("2 of 5 texts (40.0%) are longer than the encoder reads: their ends do not affect")


def test_of_two_windows_it_says_which_share_of_the_texts_has_a_middle_that_is_not_read():
    rollouts = [Rollout(prompt="q", completion=SENTENCE * times, outcome=times % 2) for times in (1, 20, 40, 41)]
    with RewardClient.embedded(run="run") as client:
        done, _, _ = run_score(client, rollouts, long_text="auto")
    (remark,) = [remark for remark in done.remarks() if " texts (" in remark]
    assert remark.startswith("2 of 5 texts (40.0%) are longer than two of the encoder's windows: their middles do")
