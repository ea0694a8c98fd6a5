"""Runs with junk: a filled or nearly empty memory, then groups of three real attempts and one junk completion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from memr_client import RewardClient, RewardResponse
from memr_service.encoder.hashed import hashed_vectors
from support.real_data import Question

from benchmarks.hackbench.cases import Case
from examples.grpo.tasks.final_number import final_number

GROUPS = 8
"""Groups per request."""
FEW = 2
"""Questions in a nearly empty memory."""
PLAIN = {"precision": "float32"}
"""Set in every run, so that all presets share the embeddings that the service keeps."""
NO_WARMUP = {"explore_warmup_steps": 0, "explore_warmup_prompts": 0}


class Item(NamedTuple):
    """One completion of a request."""

    question: str
    completion: str
    outcome: float
    cut: bool = False
    """Whether the trainer cut it at its limit."""


@dataclass
class Played:
    """Rewarded groups, as arrays (groups, items of a group)."""

    outcomes: np.ndarray
    rewards: np.ndarray
    rejected: np.ndarray
    scaled: dict[str, np.ndarray]
    raw: dict[str, np.ndarray]


@dataclass
class Bench:
    """Scores junk under configs through an embedded service, which encodes each text once."""

    client: RewardClient
    cases: Sequence[Case]
    others: Sequence[Question]
    """Other questions in a filled memory."""
    _numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def run(self, config: dict[str, Any], *, warm: bool = True) -> Iterator[str]:
        """The name of a new run, which is deleted at the end; `warm` leaves out explore's warm-up."""
        run = f"run-{next(self._numbers)}"
        self.client.create_run(run, **{**PLAIN, **config, **(NO_WARMUP if warm else {})})
        yield run
        self.client.delete_run(run)

    def begin(self, config: dict[str, Any], *, filled: bool) -> str:
        """Create a run with a history. Returns its name."""
        run = f"run-{next(self._numbers)}"
        self.client.create_run(run, **{**PLAIN, **config, **NO_WARMUP})
        for part in chunks(self.cases if filled else [], 4 * GROUPS):
            earlier = [(case.question, case.earlier) for case in part]
            self.ask(run, [Item(asked, made["solution"], float(made["is_correct"])) for asked, made in earlier])
        for part in chunks(self.others if filled else self.others[:FEW], GROUPS):
            self.ask(run, [item for question in part for item in solved(question)])
        return run

    def ask(self, run: str, items: Sequence[Item], **columns: Any) -> RewardResponse:
        """Score items, which the run stores."""
        numbers = [final_number(item.completion) for item in items]
        return self.client.reward(
            [item.question for item in items],
            [item.completion for item in items],
            [item.outcome for item in items],
            run_id=run,
            answers=[None if number is None else str(number) for number in numbers],
            truncated=[item.cut for item in items],
            **columns,
        )

    def play(self, base: str, junk: str, *, fresh: bool) -> Played:
        """Score all cases, each with three real attempts and its junk as the last item, on a copy of `base`.

        Args:
            fresh: score each request against the unchanged memory, so that a nearly empty one stays nearly empty.
        """
        answers, run = [], self._copy(base)
        for number, part in enumerate(chunks(self.cases, GROUPS)):
            if number and fresh:
                self.client.delete_run(run)
                run = self._copy(base)
            items = [item for case in part for item in group(case, junk)]
            answers.append((items, self.ask(run, items)))
        self.client.delete_run(run)
        return played(answers, 4)

    def alone(self, config: dict[str, Any], questions: Sequence[Question]) -> Played:
        """Score each question once, with its four real attempts as a group, in a growing memory."""
        answers = []
        with self.run(config) as run:
            for one in questions:
                items = solved(one)
                answers.append((items, self.ask(run, items)))
        return played(answers, 4)

    def real(self, run: str, cases: Sequence[Case]) -> Played:
        """Score real attempts without storing them."""
        answers = []
        for part in chunks(cases, GROUPS):
            items = [item for case in part for item in attempts(case)]
            answers.append((items, self.ask(run, items, mode="eval")))
        return played(answers, 3)

    def flood(self, base: str, junk: str, doses: Sequence[int]) -> dict[int, Played]:
        """Score the first third of the cases after each dose of consecutive junk completions for the other questions.

        Each junk completion is its own group, so that it has no siblings to be compared with.
        """
        shown = len(self.cases) // 3
        run, senders, sent = self._copy(base), self.cases[shown:], 0
        found = {}
        for dose in doses:
            items = [_junk(senders[number % len(senders)], junk) for number in range(sent, dose)]
            if items:
                names = [f"{junk} {number}" for number in range(sent, dose)]
                self.ask(run, items, group_ids=names)
            sent = dose
            found[dose] = self.real(run, self.cases[:shown])
        self.client.delete_run(run)
        return found

    def rejected_if_sent(self, preset: str, questions: Sequence[Question]) -> float:
        """Share of real attempts that a preset rejects if their embeddings are sent, and are another encoder's."""
        found = []
        with self.run({"preset": preset}) as run:
            for part in chunks(questions, GROUPS):
                items = [item for question in part for item in solved(question)]
                vectors = {
                    "prompts": hashed_vectors([item.question for item in items]),
                    "completions": hashed_vectors([item.completion for item in items]),
                }
                reasons = self.ask(run, items, embeddings=vectors).guards.rejected or [[]] * len(items)
                found += [bool(one) for one in reasons]
        return sum(found) / len(found)

    def _copy(self, base: str) -> str:
        run = f"run-{next(self._numbers)}"
        self.client.fork(base, run)
        return run


def solved(question: Question) -> list[Item]:
    """A question with the attempts of all four models."""
    return [Item(question["question"], made["solution"], float(made["is_correct"])) for made in question["solutions"]]


def attempts(case: Case) -> list[Item]:
    """The real attempts at a case."""
    return [Item(case.question, made["solution"], float(made["is_correct"])) for made in case.fresh]


def group(case: Case, junk: str) -> list[Item]:
    """Real attempts, and junk of a class."""
    return [*attempts(case), _junk(case, junk)]


def _junk(case: Case, junk: str) -> Item:
    return Item(case.question, case.junk[junk], case.outcome(case.junk[junk]), junk == "truncated")


def played(answers: Sequence[tuple[Sequence[Item], RewardResponse]], size: int) -> Played:
    """Requests and their answers, as groups of `size` items."""

    def column(values: Iterator[Sequence[Any]]) -> np.ndarray:
        return np.concatenate([np.array(list(one), np.float64) for one in values]).reshape(-1, size)

    names = list(answers[0][1].components)
    return Played(
        outcomes=column([item.outcome for item in items] for items, _ in answers),
        rewards=column(answer.rewards for _, answer in answers),
        rejected=column([bool(reasons) for reasons in answer.guards.rejected] for _, answer in answers) > 0,
        scaled={name: column(answer.components[name].scaled for _, answer in answers) for name in names},
        raw={name: column(answer.components[name].raw for _, answer in answers) for name in names},
    )


def chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """A sequence, cut into pieces."""
    return (values[start : start + size] for start in range(0, len(values), size))
