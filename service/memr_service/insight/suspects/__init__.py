"""Suspects: which references and verdicts are likely wrong, by the answers seen so far.

probability.py   the calibrated probability that a reference is wrong
find.py          the suspects in copies of what runs know
query.py         the question to a service, with texts
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
