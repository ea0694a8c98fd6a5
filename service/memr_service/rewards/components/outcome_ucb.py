"""outcome_ucb: final answers that have rarely been given to a prompt are worth trying."""

from __future__ import annotations

import numpy as np


def outcome_ucb(seen: np.ndarray, *, baseline: float = 0.5) -> np.ndarray:
    """min(1, sqrt(1 / N(q, answer))) - b_0: the historical bonus with a constant baseline (UCB-Con).

    Outcome-based exploration (Song, Kempe and Munos, arXiv 2509.06941). Only the abstract could be read, so the
    formula is as it is quoted elsewhere. N counts the item itself, so the minimum never decides; it is kept as quoted.

    Args:
        seen: how often the run has seen the item's answer to its prompt, this time included (n,); 0 or NaN where the
            item has no answer.

    Returns:
        (n,) in (-b_0, 1 - b_0], negative once an answer is worn out; NaN where the item has no answer.
    """
    answered = seen >= 1
    return np.where(answered, np.minimum(1.0, np.sqrt(1.0 / np.where(answered, seen, 1))) - baseline, np.nan)
