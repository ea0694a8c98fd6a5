"""References that are changed on purpose, and the evidence about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from memr_service.insight.suspects import LabelEvidence, Source

from benchmarks.suspects.gsm8k import MODELS, Question

KINDS = ("random", "given")
"""By +1 to +9; or to a wrong answer that a model gave, where one did."""
ALL = tuple(range(len(MODELS)))


@dataclass(frozen=True)
class Labels:
    """References of all questions, and which of them were changed (n,)."""

    references: Sequence[str]
    changed: np.ndarray


def clean(questions: Sequence[Question]) -> Labels:
    """The references as the data set has them."""
    return Labels([one.reference for one in questions], np.zeros(len(questions), bool))


def noisy(questions: Sequence[Question], share: float, kinds: Sequence[str], rng: np.random.Generator) -> Labels:
    """A share of the references changed, each in one of the ways at random.

    Where no model gave a wrong answer, "given" changes another question instead.
    """
    labels, left = clean(questions), round(share * len(questions))
    references = list(labels.references)
    for number in rng.permutation(len(questions)):
        if not left:
            break
        wrong, kind = questions[number].wrong_answers, kinds[rng.integers(len(kinds))]
        if kind == "given" and not wrong:
            continue
        if kind == "given":
            references[number] = wrong[rng.integers(len(wrong))]
        else:
            references[number] = str(Fraction(references[number]) + int(rng.integers(1, 10)))
        labels.changed[number] = True
        left -= 1
    return Labels(references, labels.changed)


def evidence(questions: Sequence[Question], labels: Labels, models: Sequence[int] = ALL) -> Iterator[LabelEvidence]:
    """What these models answered to each question, and how often they gave the reference of the others."""
    right = {
        model: np.array([one.answers[model] == ref for one, ref in zip(questions, labels.references, strict=True)])
        for model in models
    }
    total = {model: int(hits.sum()) for model, hits in right.items()}
    for number, (one, reference) in enumerate(zip(questions, labels.references, strict=True)):
        yield LabelEvidence(
            reference,
            [
                Source(
                    counts={} if one.answers[model] is None else {one.answers[model]: 1},
                    right=total[model] - int(right[model][number]),
                    completions=len(questions) - 1,
                )
                for model in models
            ],
        )
