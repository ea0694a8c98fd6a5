"""The weights of `memr_service.insight.suspects.probability`: fitted by maximum likelihood, and by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from memr_service.insight.suspects import PRIOR, support
from memr_service.insight.suspects.probability import ANSWER_WEIGHT, REFERENCE_WEIGHT, REST_WEIGHT

from benchmarks.suspects.gsm8k import MODELS, Question
from benchmarks.suspects.noise import ALL, KINDS, Labels, evidence, noisy

NAMES = ("ANSWER_WEIGHT", "REFERENCE_WEIGHT", "REST_WEIGHT")
PUBLISHED = np.array([ANSWER_WEIGHT, REFERENCE_WEIGHT, REST_WEIGHT])
DRAWS = 10
"""Draws of changed references that the weights are fitted to."""
FIRST_DRAW = 1000
"""Seeds of these draws; the seeds of those that are scored are smaller."""
FOLDS = 5
STEPS = 20
"""Newton's steps, of which eight are enough."""
SUBSETS = [models for size in range(1, len(MODELS) + 1) for models in combinations(range(len(MODELS)), size)]
"""The weights are fitted to one, two, three and four models at once."""


def columns(questions: Sequence[Question], labels: Labels, models: Sequence[int] = ALL) -> np.ndarray:
    """What the weights multiply, of each question (n, 3)."""
    found = [support(one) for one in evidence(questions, labels, models)]
    return np.array([(one.for_answer, -one.for_reference, -one.for_rest) for one in found])


def weights(x: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """The weights (3,) of a logistic regression without another intercept than the prior's log odds."""
    w = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = probabilities(x, w)
        w = w + np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x, x.T @ (changed - p))
    return w


def probabilities(x: np.ndarray, w: np.ndarray, prior: float = PRIOR) -> np.ndarray:
    """That references are wrong (n,)."""
    return 1 / (1 + np.exp(-(np.log(prior / (1 - prior)) + x @ w)))


class Fit:
    """Weights from all questions, and for each fold from the questions outside it."""

    def __init__(self, questions: Sequence[Question], draws: int = DRAWS) -> None:
        self.fold = np.random.default_rng(0).permutation(len(questions)) % FOLDS
        x, changed = [], []
        for draw in range(FIRST_DRAW, FIRST_DRAW + draws):
            labels = noisy(questions, PRIOR, KINDS, np.random.default_rng(draw))
            x += [columns(questions, labels, models) for models in SUBSETS]
            changed += [labels.changed] * len(SUBSETS)
        rows, truth, fold = np.concatenate(x), np.concatenate(changed), np.tile(self.fold, len(x))
        self.weights = weights(rows, truth)
        self.without = [weights(rows[fold != one], truth[fold != one]) for one in range(FOLDS)]

    def held_out(self, x: np.ndarray, prior: float = PRIOR) -> np.ndarray:
        """Probabilities for questions (n, 3), each by weights that were fitted without it."""
        found = np.empty(len(x))
        for fold, w in enumerate(self.without):
            found[self.fold == fold] = probabilities(x[self.fold == fold], w, prior)
        return found
