"""OpenRLHF's remote-reward protocol: its requests as reward requests, and the responses that it expects."""

from __future__ import annotations

from memr_service.app.openrlhf.protocol import Samples, read, response, unknown_run
from memr_service.app.openrlhf.retries import AbandonedRequests
from memr_service.app.openrlhf.texts import check_pattern

__all__ = ["AbandonedRequests", "Samples", "check_pattern", "read", "response", "unknown_run"]
