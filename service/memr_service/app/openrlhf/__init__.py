"""OpenRLHF's remote-reward protocol: its requests as reward requests, and the responses that it expects."""

from __future__ import annotations

from memr_service.app.openrlhf.protocol import Samples, read, response
from memr_service.app.openrlhf.retries import AbandonedRequests
from memr_service.app.openrlhf.texts import check_pattern
from memr_service.app.openrlhf.verifier_pool import Outcomes, VerifierPool

__all__ = [
    "AbandonedRequests",
    "Outcomes",
    "Samples",
    "VerifierPool",
    "check_pattern",
    "read",
    "response",
]
