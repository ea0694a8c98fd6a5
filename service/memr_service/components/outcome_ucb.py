"""outcome_ucb: final answers that have rarely been given to a prompt are worth trying."""

from __future__ import annotations

import numpy as np


def outcome_ucb(seen: np.ndarray, *, baseline: float = 0.5) -> np.ndarray:
    """min(1, sqrt(1 / N(q, answer))) - b_0: the historical bonus with a constant baseline (UCB-Con).

    Outcome-based exploration (Song, Kempe and Munos, arXiv 2509.06941). The abstract's words were checked, the formula
    is as cited by others. N counts the item itself, so that the minimum never decides; it keeps to the formula.

    Args:
        seen: how often the run has seen the item's answer to its prompt, this time included (n,); 0 or NaN where the
            item has no answer.

    Returns:
        (n,) in (-b_0, 1 - b_0], negative once an answer is worn out; NaN where the item has no answer.
    """
    answered = seen >= 1
    return np.where(answered, np.minimum(1.0, np.sqrt(1.0 / np.where(answered, seen, 1))) - baseline, np.nan)
