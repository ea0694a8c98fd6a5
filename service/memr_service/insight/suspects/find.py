"""Finds references and verdicts that the answers seen speak against, in copies of what runs know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from memr_service.insight.suspects.probability import LabelEvidence, Source, label_probability, support
from memr_service.run.run import Run
from memr_service.state.answers import EarlierRun, Given, Prompt
from memr_service.state.decisions import Decisions
from memr_service.verifiers.equality import form

SHOWN_ANSWERS = 8
"""Answers that the evidence names."""
CALIBRATED_ON = (
    "GSM8K's test questions with one tenth of the references changed, half by +1 to +9 and half to an answer that a "
    "model gave, and four models' answers. It carries to short answers of several runs or models that err in different "
    "ways. A single run repeats its own mistakes: with one run the order says what to look at first, and no more."
)
"""What the probabilities were calibrated on, and how far that carries."""


@dataclass(frozen=True)
class Known:
    """A copy of what a run knew at one moment."""

    name: str
    position: int
    prompts: dict[bytes, bytes]
    """Key -> a `Prompt` as bytes."""
    runs: list[EarlierRun]
    decisions: Decisions


def known_now(run: Run) -> Known:
    """What a run knows. In the run thread."""
    answers = run.state.answers
    assert answers is not None, "runs without answers were refused"
    return Known(run.stored.run_id, run.state.position, answers.packed(), answers.runs, run.state.decisions)


@dataclass
class _Voter:
    """One run: the answers that it gave to each prompt, and how often it is right."""

    name: str
    counts: dict[bytes, dict[str, int]] = field(default_factory=dict)
    """Key of the asked run's prompt -> form of an answer -> completions."""
    visits: dict[bytes, int] = field(default_factory=dict)
    right: int = 0
    n: int = 0

    def source(self, key: bytes, reference: str) -> Source | None:
        """What it says about a prompt; None if it gave no answer."""
        counts = self.counts.get(key)
        if not counts:
            return None
        here = sum(counts.values())
        right = max(0, self.right - counts.get(reference, 0))
        return Source(counts, min(right, max(0, self.n - here)), max(0, self.n - here))

    @property
    def accuracy(self) -> float | None:
        """Share of right completions over all prompts; None if that is not known."""
        return self.right / self.n if self.n else None


@dataclass(frozen=True)
class Says:
    """What one run says about a prompt: its most frequent answer, how many completions gave it, and any answer."""

    run: str
    answer: str
    times: int
    of: int
    accuracy: float | None


@dataclass(frozen=True)
class Label:
    """A reference that is likely wrong."""

    key: bytes
    name: str | None
    reference: str
    answer: str
    probability: float
    counts: dict[str, int]
    says_reference: int
    completions: int
    visits: int
    says: list[Says]
    sources: int
    shares: list[float]
    changes: int
    serial: int | None
    """Serial number of the run's newest completion that gave the answer."""

    @property
    def share(self) -> float:
        """Share of the completions that gave the answer."""
        return self.counts[self.answer] / self.completions

    @property
    def slope(self) -> float | None:
        """Least-squares slope of the shares over the visits."""
        return float(np.polyfit(np.arange(len(self.shares)), self.shares, 1)[0]) if len(self.shares) > 1 else None


@dataclass(frozen=True)
class Verdict:
    """Verdicts on one answer to one prompt that are likely wrong."""

    missed: bool
    key: bytes
    name: str | None
    reference: str
    answer: str
    times: int
    others: int
    serial: int


@dataclass(frozen=True)
class Found:
    """What was found."""

    runs: list[str]
    prompts: int
    decided: int
    accused: int
    labels: list[Label]
    verdicts: list[Verdict]


def find(asked: Known, others: Sequence[Known], min_probability: float, prior: float, limit: int) -> Found:
    """The suspects among a run's references and verdicts.

    Args:
        others: runs whose answers count too.
        prior: share of the references that are expected to be wrong.
        limit: at most so many labels, and verdicts.
    """
    prompts = {key: Prompt.unpack(data) for key, data in asked.prompts.items()}
    names = _Names()
    voters = _voters(asked, others, prompts, names)
    labels: list[Label] = []
    verdicts: list[Verdict] = []
    with_reference = decided = 0
    for key, prompt in prompts.items():
        decision = asked.decisions.about(key, prompt.text)
        reference = prompt.reference if decision is None or decision.reference is None else decision.reference
        if reference is None or not any(key in one.counts for one in voters):
            continue
        with_reference += 1
        decided += decision is not None
        verdicts += _verdicts(key, prompt, reference)
        if decision is None:
            evidence = _evidence(key, reference, voters)
            probability = label_probability(evidence, prior)
            if probability >= min_probability and (answer := support(evidence).answer) is not None:
                labels.append(_label(key, prompt, reference, answer, probability, voters, names))
    labels.sort(key=lambda one: (-one.probability, one.key))
    verdicts.sort(key=lambda one: (-one.times, one.key))
    runs = [one.name for one in voters]
    return Found(runs, with_reference, decided, len(labels), labels[:limit], verdicts[:limit])


class _Names:
    """Form of an answer -> the text that it was given as most often in one prompt, of all texts seen so far."""

    def __init__(self) -> None:
        self._texts: dict[str, tuple[int, str]] = {}

    def form(self, answer: str, times: int) -> str:
        """The form of an answer that was given so many times."""
        shared = form(answer)
        if times > self._texts.get(shared, (0, ""))[0]:
            self._texts[shared] = times, answer
        return shared

    def text(self, shared: str) -> str:
        """How a form is shown."""
        return self._texts[shared][1]


def _voters(asked: Known, others: Sequence[Known], prompts: Mapping[bytes, Prompt], names: _Names) -> list[_Voter]:
    """All runs whose answers count: the asked one, the others, and the earlier runs of them all."""
    voters: dict[str, _Voter] = {}
    by_text = {one.text: key for key, one in prompts.items() if any(one.text)}
    direct = {asked.name, *(one.name for one in others)}
    for known in (asked, *(one for one in others if one.name != asked.name)):
        own = voters[known.name] = _Voter(known.name)
        earlier = [one for one in known.runs if one.name not in direct and one.name not in voters]
        voters |= {one.name: _Voter(one.name, right=round(one.right), n=round(one.n)) for one in earlier}
        mine = {one.name for one in earlier}
        for key, theirs in _matched(known, prompts, by_text) if known is not asked else prompts.items():
            reference = None if theirs.reference is None else form(theirs.reference)
            counts: dict[str, int] = {}
            for tally in theirs.tallies:
                shared = names.form(tally.answer, tally.times)
                counts[shared] = counts.get(shared, 0) + tally.times
            if reference is not None:
                own.right += counts.get(reference, 0)
                own.n += sum(counts.values())
            if counts:
                own.counts[key], own.visits[key] = counts, theirs.visits
            for given in map(Given._make, theirs.earlier):
                if (name := known.runs[given.run].name) in mine:
                    voter, shared = voters[name], names.form(given.answer, given.times)
                    into = voter.counts.setdefault(key, {})
                    into[shared] = into.get(shared, 0) + given.times
                    voter.visits[key] = max(voter.visits.get(key, 0), given.visits)
    return [*voters.values()]


def _matched(
    known: Known, prompts: Mapping[bytes, Prompt], by_text: Mapping[bytes, bytes]
) -> Iterator[tuple[bytes, Prompt]]:
    """The prompts of another run, each under the key that it has in the asked one; others under their own."""
    for key, data in known.prompts.items():
        theirs = Prompt.unpack(data)
        mine = prompts.get(key)
        if mine is not None and any(mine.text) and any(theirs.text) and mine.text != theirs.text:
            key, mine = b"another " + key, None  # of that id, with another text
        yield by_text.get(theirs.text, key) if mine is None else key, theirs


def _evidence(key: bytes, reference: str, voters: Sequence[_Voter]) -> LabelEvidence:
    """What the runs answered to a prompt, and its reference."""
    shared = form(reference)
    found = (one.source(key, shared) for one in voters)
    return LabelEvidence(shared, [one for one in found if one is not None])


def _label(
    key: bytes,
    prompt: Prompt,
    reference: str,
    answer: str,
    probability: float,
    voters: Sequence[_Voter],
    names: _Names,
) -> Label:
    """A suspected reference with what speaks against it.

    Args:
        answer: the form of the strongest other answer.
    """
    shared, voting = form(reference), [one for one in voters if key in one.counts]
    counts: dict[str, int] = {}
    for voter in voting:
        for one, times in voter.counts[key].items():
            counts[one] = counts.get(one, 0) + times
    shown = sorted(counts, key=lambda one: (one != answer, -counts[one], one))[:SHOWN_ANSWERS]
    says = [_says(one, one.counts[key], names) for one in voting]
    return Label(
        key=key,
        name=prompt.name,
        reference=reference,
        answer=names.text(answer),
        probability=probability,
        counts={reference if one == shared else names.text(one): counts[one] for one in shown},
        says_reference=counts.get(shared, 0),
        completions=sum(counts.values()),
        visits=sum(one.visits.get(key, 0) for one in voters),
        says=says,
        sources=sum(form(one.answer) == answer for one in says),
        shares=_shares(prompt, answer),
        changes=prompt.changes,
        serial=max((one.serial for one in prompt.tallies if form(one.answer) == answer), default=None),
    )


def _says(voter: _Voter, counts: Mapping[str, int], names: _Names) -> Says:
    top = max(counts, key=lambda one: (counts[one], one))
    return Says(voter.name, names.text(top), counts[top], sum(counts.values()), voter.accuracy)


def _shares(prompt: Prompt, answer: str) -> list[float]:
    """Share of the completions of each visit that gave an answer of this form."""
    visits = prompt.all_visits()
    return [sum(times for one, times in visit.counts.items() if form(one) == answer) / visit.size for visit in visits]


def _verdicts(key: bytes, prompt: Prompt, reference: str) -> Iterator[Verdict]:
    """The verdicts on a prompt's answers that do not fit its reference."""
    shared = form(reference)
    for tally in prompt.tallies:
        missed = form(tally.answer) == shared
        times, others = (tally.wrong, tally.right) if missed else (tally.right, tally.wrong)
        if times:
            yield Verdict(missed, key, prompt.name, reference, tally.answer, times, others, tally.serial)
