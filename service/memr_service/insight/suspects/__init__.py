"""Suspects: which references are likely wrong, by the answers seen so far.

probability.py   the calibrated probability that a reference is wrong
"""

from memr_service.insight.suspects.probability import (
    PRIOR,
    LabelEvidence,
    Source,
    Support,
    label_probability,
    support,
)

__all__ = ["PRIOR", "LabelEvidence", "Source", "Support", "label_probability", "support"]
