"""Limits for a run's guards, proposed from its own records.

calibrate.py     reads a run's journal while it goes on giving rewards
survey.py        counts what the guards look at, record by record
neighbours.py    how near the prompts are that an item would read
histogram.py     counts of a quantity's values, in bins
rules.py         one rule for each guard: which quantile, which margin, and why
"""

from memr_service.insight.calibration.calibrate import calibrate
from memr_service.insight.calibration.rules import NEEDED, propose
from memr_service.insight.calibration.survey import Survey

__all__ = ["NEEDED", "Survey", "calibrate", "propose"]
