"""OpenRLHF's remote-reward protocol: what it sends as a reward request, and the answer as it reads it."""

from __future__ import annotations

from memr_service.app.openrlhf.protocol import Samples, read, response
from memr_service.app.openrlhf.retries import AbandonedRequests
from memr_service.app.openrlhf.texts import check_pattern

__all__ = ["AbandonedRequests", "Samples", "check_pattern", "read", "response"]
