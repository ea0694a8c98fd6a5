"""OpenRLHF's remote-reward protocol: what it sends as a reward request, and the answer as it reads it."""

from __future__ import annotations

from memr_service.openrlhf.samples import Samples, read, response
from memr_service.openrlhf.seats import Seats
from memr_service.openrlhf.texts import check_pattern

__all__ = ["Samples", "Seats", "check_pattern", "read", "response"]
