"""NeMo Gym's protocol of a resources server: its rollouts as reward requests, and the responses that it expects."""

from __future__ import annotations

from memr_service.app.nemo_gym.aggregates import aggregate
from memr_service.app.nemo_gym.protocol import Sample, check, read, unknown_run, verified

__all__ = ["Sample", "aggregate", "check", "read", "unknown_run", "verified"]
