"""Floors for a run's guards, proposed from its own records.

tally.py         counts of a quantity's values, exact to a bin, however many there are
neighbours.py    how near the prompts are that an item would read
survey.py        everything that is counted, record by record
rules.py         one rule for each guard: which quantile, which margin, and why
reading.py       a run's journal, read beside the rewards it goes on giving
"""

from memr_service.insight.calibration.calibrate import calibrate
from memr_service.insight.calibration.rules import NEEDED, propose
from memr_service.insight.calibration.survey import Survey

__all__ = ["NEEDED", "Survey", "calibrate", "propose"]
