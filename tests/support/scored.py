"""Logged rollouts, scored in this process as `memr score` does."""

from __future__ import annotations

from memr_service.cli.rollouts import requests
from memr_service.cli.scoring import score
from memr_service.encoder import Encoders


def run_score(client, rollouts, by="prompt", **config):
    made = client.create_run("run", explore_warmup_steps=config.pop("explore_warmup_steps", 0), **config)
    rows, counted = [], []
    encoders = Encoders([made.config.encoder])
    (done,) = score(client, encoders, ["run"], requests(rollouts, by), rows.extend, counted.append)
    return done, rows, counted
