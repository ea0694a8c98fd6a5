"""Outcomes for trainers that send labels: the answer in a label, its verifier, and what the memory then adds."""

from __future__ import annotations

from memr_service.app.judging.equal_groups import EqualGroups
from memr_service.app.judging.labels import answer_of
from memr_service.app.judging.parts import counting, parts, sums
from memr_service.app.judging.verifier_pool import Outcomes, VerifierPool

__all__ = ["EqualGroups", "Outcomes", "VerifierPool", "answer_of", "counting", "parts", "sums"]
