"""The probability that a reference is wrong, given the answers that runs or models gave to its prompt.

A source has one vote, however many completions it gave: a policy repeats its mistakes, so more of the same are no
further evidence. The vote is divided among the source's answers by their shares, and weighs more if the source is more
often right elsewhere. `support` sums the votes for the reference, for `answer`, the strongest other answer, and for all
further answers together; then

    log odds = log odds of the prior
               + ANSWER_WEIGHT for_answer - REFERENCE_WEIGHT for_reference - REST_WEIGHT for_rest

Without any answer the probability is the prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PRIOR = 0.1
"""Share of wrong references in the data that the weights were fitted to."""

# Fitted to four models' answers to GSM8K's test questions, with PRIOR of the references changed: half of them by +1 to
# +9, half to an answer that a model gave. `python -m benchmarks.suspects --fit` fits them again.
ANSWER_WEIGHT = 0.66
"""Of the support for the strongest other answer."""
REFERENCE_WEIGHT = 0.82
"""Of the support for the reference."""
REST_WEIGHT = 0.46
"""Of the support for all further answers: where answers differ, the question is hard, and they are weak evidence."""

WRONG_ANSWERS = 3
"""Wrong answers that a source chooses from: one that is right with probability a gives the truth
WRONG_ANSWERS a / (1 - a) times as often as one of them."""
UNKNOWN = 2
"""Wrong completions that are added to those of a source: one of which nothing is known elsewhere has no vote."""


@dataclass(frozen=True)
class Source:
    """What a run or a model answered to the prompt, and how often it is right elsewhere.

    Answers and references are canonical strings: answers that the verifier holds equal to one another, or to the
    reference, have one string in all sources.
    """

    counts: Mapping[str, int]
    """Answer to the prompt -> completions that gave it, at least one. Completions without an answer do not count."""
    right: int
    """Completions to other prompts that gave their references."""
    completions: int
    """All completions to other prompts with references."""

    @property
    def accuracy(self) -> float:
        """Share of right completions elsewhere, in [0, 1)."""
        return self.right / (self.completions + UNKNOWN)

    @property
    def vote(self) -> float:
        """Weight of its vote: ln(1 + WRONG_ANSWERS a / (1 - a)) of its accuracy a."""
        return math.log1p(WRONG_ANSWERS * self.accuracy / (1 - self.accuracy))


@dataclass(frozen=True)
class LabelEvidence:
    """A prompt's reference, and what the sources that are compared answered."""

    reference: str
    sources: Sequence[Source]


@dataclass(frozen=True)
class Support:
    """Votes of the sources, summed."""

    answer: str | None
    """The strongest answer that is not the reference, the first in order of equal ones; None without another answer."""
    for_answer: float
    for_reference: float
    for_rest: float
    """For all further answers."""


def support(evidence: LabelEvidence) -> Support:
    """How strongly the sources support the reference, the strongest other answer, and the rest."""
    votes: dict[str, float] = {}
    for source in evidence.sources:
        given = sum(source.counts.values())
        for answer, count in source.counts.items():
            votes[answer] = votes.get(answer, 0.0) + source.vote * count / given
    for_reference = votes.pop(evidence.reference, 0.0)
    if not votes:
        return Support(None, 0.0, for_reference, 0.0)
    answer = min(votes, key=lambda one: (-votes[one], one))
    for_answer = votes.pop(answer)
    return Support(answer, for_answer, for_reference, sum(votes.values()))


def label_probability(evidence: LabelEvidence, prior: float = PRIOR) -> float:
    """The probability that the reference is wrong, from 0 to 1.

    Args:
        evidence: the reference, and what the sources answered.
        prior: share of the data's references that are expected to be wrong, above 0 and below 1.
    """
    found = support(evidence)
    odds = (
        math.log(prior / (1 - prior))
        + ANSWER_WEIGHT * found.for_answer
        - REFERENCE_WEIGHT * found.for_reference
        - REST_WEIGHT * found.for_rest
    )
    return 0.5 * (1 + math.tanh(odds / 2))
