"""The probability that a reference is wrong, given the answers that runs or models gave to its prompt.

Each source has one vote, however many completions it gave: answers of one policy repeat its mistakes, so more of them
are not more evidence. It divides its vote among its answers by their shares, and the vote counts as much as the source
is right elsewhere.

    log odds = log odds of PRIOR + ANSWER_WEIGHT S(answer) - REFERENCE_WEIGHT S(reference) - REST_WEIGHT S(rest)

S sums share times accuracy over the sources; `answer` is the strongest answer that is not the reference. Without any
answer the probability is the prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PRIOR = 0.1
"""Share of wrong references in the data that the weights were fitted to, and the probability without any answer."""

# Fitted to GSM8K's test questions with four models' answers, 10 % of the references changed: half by +1 to +9, half to
# an answer that a model gave. `python -m benchmarks.suspects --fit` fits them again.
ANSWER_WEIGHT = 1.76
"""Of the support of the strongest other answer."""
REFERENCE_WEIGHT = 2.62
"""Of the support of the reference."""
REST_WEIGHT = 1.39
"""Of the support of all further answers: a question with many answers is a hard one, and its answers are no evidence."""

UNKNOWN = 2
"""Completions, none right, that are added to a source's: one of which nothing is known elsewhere has no vote."""


@dataclass(frozen=True)
class Source:
    """What a run or a model answered to the prompt, and how often it is right elsewhere.

    Answers and references are canonical strings: answers that the verifier holds equal to one another, or to the
    reference, have one string in all sources.
    """

    counts: Mapping[str, int]
    """Answer to the prompt -> completions that gave it. Completions without an answer are not counted."""
    right: int
    """Completions of the source to other prompts that gave their reference."""
    completions: int
    """All completions of the source to other prompts that have a reference."""

    @property
    def accuracy(self) -> float:
        """Share of right completions elsewhere, in [0, 1); 0 where nothing is known."""
        return self.right / (self.completions + UNKNOWN)


@dataclass(frozen=True)
class LabelEvidence:
    """A prompt's reference, and the answers of the sources that are compared."""

    reference: str
    sources: Sequence[Source]


@dataclass(frozen=True)
class Support:
    """The sources' votes, each times its source's accuracy elsewhere."""

    answer: str | None
    """The strongest answer that is not the reference (of equally strong ones the first by name); None if there is none."""
    for_answer: float
    for_reference: float
    for_rest: float
    """Of all further answers together."""


def support(evidence: LabelEvidence) -> Support:
    """How strongly the sources support the reference, the strongest other answer, and all further answers."""
    votes: dict[str, float] = {}
    for source in evidence.sources:
        given = sum(source.counts.values())
        for answer, count in source.counts.items():
            votes[answer] = votes.get(answer, 0.0) + source.accuracy * count / given
    for_reference = votes.pop(evidence.reference, 0.0)
    if not votes:
        return Support(None, 0.0, for_reference, 0.0)
    answer = min(votes, key=lambda one: (-votes[one], one))
    return Support(answer, votes[answer], for_reference, math.fsum(votes.values()) - votes[answer])


def label_probability(evidence: LabelEvidence, prior: float = PRIOR) -> float:
    """The probability that the reference is wrong, in (0, 1).

    Args:
        evidence: the reference, and what the sources answered.
        prior: share of wrong references that is expected in the data, in (0, 1).
    """
    found = support(evidence)
    odds = (
        math.log(prior / (1 - prior))
        + ANSWER_WEIGHT * found.for_answer
        - REFERENCE_WEIGHT * found.for_reference
        - REST_WEIGHT * found.for_rest
    )
    return 1 / (1 + math.exp(-odds))
