"""outcome_ucb: a bonus for final answers that were rarely given to the prompt."""

from __future__ import annotations

import numpy as np


def outcome_ucb(seen: np.ndarray, *, baseline: float = 0.5) -> np.ndarray:
    """min(1, sqrt(1 / N(q, answer))) - b_0: the historical bonus with a constant baseline (UCB-Con).

    Outcome-based exploration (Song, Kempe and Munos, arXiv 2509.06941). Only the abstract could be read; the formula is
    as it is quoted elsewhere. N counts the item itself, so the minimum never applies; it is kept as quoted.

    Args:
        seen: N(q, answer), how often the run has seen the item's answer to its prompt, this time included (n,); 0 or
            NaN where the item has no answer.
        baseline: b_0.

    Returns:
        (n,) in (-b_0, 1 - b_0], negative when the answer was given often; NaN where the item has no answer.
    """
    answered = seen >= 1
    return np.where(answered, np.minimum(1.0, np.sqrt(1.0 / np.where(answered, seen, 1))) - baseline, np.nan)
