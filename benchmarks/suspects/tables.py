"""The tables: what was changed and found again, by agreement and by models; calibration; forms; the strongest."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from memr_service.insight.suspects import PRIOR, label_probability, support
from support.real_data import references

from benchmarks.suspects import forms, measures
from benchmarks.suspects.fit import SUBSETS, Fit, columns
from benchmarks.suspects.gsm8k import MODELS, Question
from benchmarks.suspects.noise import KINDS, Labels, clean, evidence, noisy

SHARES = (0.05, 0.1, 0.2)
"""Of references that are changed."""
CUT = 0.5
"""Probability from which a reference is accused, if the caller names no other."""
TOP, RECALL = 50, 0.2
WAYS: Mapping[str, Sequence[str]] = {
    "by +1 to +9": KINDS[:1],
    "to an answer that a model gave": KINDS[1:],
    "half and half": KINDS,
}
BINS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
STRONGEST = 20
SOLVED = json.loads((Path(__file__).parent / "verdicts.json").read_text("utf-8"))
"""Number of a question -> what solving it again showed."""

Table = dict[str, Any]
"""`columns` and `rows`, as docs/results/SOLVEDME.md has them."""
Score = Callable[[Labels], np.ndarray]


def draws(questions: Sequence[Question], share: float, kinds: Sequence[str], count: int) -> list[Labels]:
    """Changed references, the same ones for every table."""
    return [noisy(questions, share, kinds, np.random.default_rng(draw)) for draw in range(count)]


def found(questions: Sequence[Question], fit: Fit, count: int) -> Table:
    """AUC, precision and recall by how many references are changed, and in which way."""
    p = fit.held_out(columns(questions, clean(questions)))
    rows = [{"way": "none", "share": 0.0, "accused": float((p >= CUT).mean()), **dict.fromkeys(
        ("auc", "aucs", "top", "precision", "cut_precision", "cut_recall"))}]  # fmt: skip
    for way, kinds in WAYS.items():
        for share in SHARES:
            each = [
                (fit.held_out(columns(questions, labels)), labels.changed)
                for labels in draws(questions, share, kinds, count)
            ]
            aucs = [measures.auc(*one) for one in each]
            cut = np.array([measures.at(*one, CUT) for one in each])
            rows.append({
                "way": way,
                "share": share,
                "auc": _mean(aucs),
                "aucs": [round(one, 3) for one in aucs],
                "low": min(aucs),
                "high": max(aucs),
                "top": _mean(measures.among_strongest(*one, TOP) for one in each),
                "precision": _mean(measures.precision_at(*one, RECALL) for one in each),
                "cut_precision": _mean(cut[:, 0]),
                "cut_recall": _mean(cut[:, 1]),
                "accused": _mean((one >= CUT).mean() for one, _ in each),
            })  # fmt: skip
    return {
        "columns": [
            _column("references changed", "{way}"),
            _column("share", "{share:.0%}"),
            _column("AUC (lowest and highest of the draws)", "{auc:.2f} ({low:.2f} to {high:.2f})"),
            _column(f"changed among the {TOP} strongest", "{top:.0f}"),
            _column(f"best precision at a recall of {RECALL:g} or more", "{precision:.2f}"),
            _column(f"precision from {CUT:g} on", "{cut_precision:.2f}"),
            _column(f"recall from {CUT:g} on", "{cut_recall:.2f}"),
            _column(f"accused from {CUT:g} on", "{accused:.1%}"),
        ],
        "rows": rows,
    }


def by_agreement(questions: Sequence[Question], fit: Fit, count: int) -> Table:
    """What is found where so many models agree on another answer; and by the rule that accuses these.

    The rule accuses where at least so many do, and none gives the reference. AUCs are within folds.
    """
    random, given = (
        [
            (*agreeing(questions, labels), fit.held_out(columns(questions, labels)), labels.changed)
            for labels in draws(questions, PRIOR, [kind], count)
        ]
        for kind in KINDS
    )
    top_as_is, said_as_is = agreeing(questions, clean(questions))
    rows = []
    for models in range(1, len(MODELS) + 1):
        alike = [(top == models, p, changed) for top, _, p, changed in random]
        rule = _accused(random, models)
        rows.append({
            "models": models,
            "questions": _mean(one.sum() for one, _, _ in alike),
            "changed": _mean(changed[one].mean() for one, _, changed in alike),
            "auc": _mean(measures.auc(p[one], changed[one], fit.fold[one]) for one, p, changed in alike),
            "precision": _mean(changed[hits].mean() for hits, changed in rule),
            "recall": _mean(changed[hits].sum() / changed.sum() for hits, changed in rule),
            "given": _mean(changed[hits].sum() / changed.sum() for hits, changed in _accused(given, models)),
            "as_is": float(((top_as_is >= models) & ~said_as_is).mean()),
        })  # fmt: skip
    return {
        "columns": [
            _column("models that agree on another answer", "{models}"),
            _column("questions", "{questions:.0f}"),
            _column("of them changed", "{changed:.0%}"),
            _column("AUC among them", "{auc:.2f}"),
            _column("rule: precision", "{precision:.2f}"),
            _column("rule: recall", "{recall:.2f}"),
            _column("rule: recall of answers that a model gave", "{given:.2f}"),
            _column("rule: accused without changes", "{as_is:.1%}"),
        ],
        "rows": rows,
    }


def agreeing(questions: Sequence[Question], labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """How many models give the most frequent answer that is not the reference (n,); whether any gives that (n,)."""
    top, said = [], []
    for one, reference in zip(questions, labels.references, strict=True):
        counts = Counter(answer for answer in one.answers if answer is not None)
        said.append(counts.pop(reference, 0) > 0)
        top.append(max(counts.values(), default=0))
    return np.array(top), np.array(said)


def by_models(questions: Sequence[Question], fit: Fit, count: int) -> Table:
    """AUC with one to four models compared."""
    rows = []
    for size in range(1, len(MODELS) + 1):
        row: dict[str, Any] = {"models": size}
        for name, kinds in zip(KINDS, ([one] for one in KINDS), strict=True):
            aucs = {
                models: _mean(
                    measures.auc(fit.held_out(columns(questions, labels, models)), labels.changed)
                    for labels in draws(questions, PRIOR, kinds, count)
                )
                for models in SUBSETS
                if len(models) == size
            }
            best = max(aucs, key=lambda models: aucs[models])
            row |= {name: _mean(aucs.values()), f"{name}_best": aucs[best], f"{name}_models": _names(best)}
        rows.append(row)
    return {
        "columns": [
            _column("models compared", "{models}"),
            _column("AUC, changed by +1 to +9: mean over the choices of models", "{random:.2f}"),
            _column("best choice", "{random_best:.2f} ({random_models})"),
            _column("AUC, changed to an answer that a model gave", "{given:.2f}"),
            _column("best choice", "{given_best:.2f} ({given_models})"),
        ],
        "rows": rows,
    }


def calibration(questions: Sequence[Question], fit: Fit, count: int) -> Table:
    """Probabilities, and the share of references with such a probability that had been changed."""
    rows = []
    pooled = {}
    for name, kinds, share, prior in (
        ("both", KINDS, PRIOR, PRIOR),
        ("random", KINDS[:1], PRIOR, PRIOR),
        ("given", KINDS[1:], PRIOR, PRIOR),
        ("few", KINDS, SHARES[0], SHARES[0]),
        ("many", KINDS, SHARES[-1], SHARES[-1]),
    ):
        each = draws(questions, share, kinds, count)
        p = np.concatenate([fit.held_out(columns(questions, labels), prior) for labels in each])
        pooled[name] = p, np.concatenate([labels.changed for labels in each])
    for low, high in itertools.pairwise(BINS):
        row: dict[str, Any] = {"low": low, "high": high}
        for name, (p, changed) in pooled.items():
            inside = (p >= low) & (p < high)
            row[f"{name}_n"] = round(inside.sum() / count, 1)
            row[f"{name}_p"] = float(p[inside].mean()) if inside.any() else None
            row[name] = float(changed[inside].mean()) if inside.any() else None
        rows.append(row)
    return {
        "columns": [
            _column("probability", "{low:g} to {high:g}"),
            _column("references", "{both_n:.0f}"),
            _column("mean probability", "{both_p:.1%}"),
            _column("changed: 10 %, half and half", "{both:.1%}"),
            _column("by +1 to +9", "{random:.1%}"),
            _column("to an answer that a model gave", "{given:.1%}"),
            _column("5 %, prior 0.05: probability, changed", "{few_p:.1%}, {few:.1%}"),
            _column("20 %, prior 0.2: probability, changed", "{many_p:.1%}, {many:.1%}"),
        ],
        "rows": rows,
    }


def in_other_forms(questions: Sequence[Question], every: int) -> Table:
    """Right answers in other forms that verifiers miss, and wrong answers that they accept."""
    numbers = sorted({int(one.reference) for one in questions})[::every]
    wrong = [(int(one.wrong_answers[0]), int(one.reference)) for one in questions if _is_whole(one)][:: 2 * every]
    right = forms.accepted([(number, number) for number in numbers])
    taken = forms.accepted(wrong)
    rows = [
        {
            "form": name,
            **{f"missed_{one}": 1 - share for one, share in right[name].items()},
            "accepted": taken[name]["any"],
        }
        for name in right
    ]
    return {
        "columns": [
            _column("form", "`{form}`"),
            _column("missed by `exact`", "{missed_exact:.0%}"),
            _column("missed by `numeric`", "{missed_numeric:.0%}"),
            _column("missed by `math`", "{missed_math:.0%}"),
            _column("missed by all", "{missed_any:.0%}"),
            _column("wrong answers that any accepts", "{accepted:.0%}"),
        ],
        "rows": rows,
    }


def strongest(questions: Sequence[Question]) -> Table:
    """The strongest suspects in the data as they are, with those that tie with the last, each solved again."""
    known = list(evidence(questions, clean(questions)))
    p = np.array([label_probability(one) for one in known])
    last = np.sort(p)[-STRONGEST]
    order = [number for number in np.argsort(-p, kind="stable").tolist() if p[number] >= last]
    rows = [
        {
            "probability": round(float(p[number]), 3),
            "question": questions[number].text.replace("\n", " ").strip(),
            "reference": references()[number],
            "answer": support(known[number]).answer,
            "answers": ", ".join(answer or "none" for answer in questions[number].answers),
            **SOLVED.get(str(number), {"mine": None, "verdict": "not solved", "reason": None}),
        }
        for number in order
    ]
    return {
        "columns": [
            _column("probability", "{probability:.2f}"),
            _column("question", "{question}"),
            _column("reference", "{reference}"),
            _column("answers of the four models", "{answers}"),
            _column("solved again", "{mine}"),
            _column("verdict", "{verdict}"),
            _column("reason", "{reason}"),
        ],
        "rows": rows,
    }


def _accused(
    draws: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], models: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """What the rule accuses in each draw, and what was changed."""
    return [((top >= models) & ~said, changed) for top, said, _, changed in draws]


def _is_whole(question: Question) -> bool:
    wrong = question.wrong_answers[:1]
    return bool(wrong) and wrong[0].removeprefix("-").isdigit() and len(wrong[0]) < 10


def _mean(values: Any) -> float:
    return float(np.nanmean(list(values)))


def _names(models: Sequence[int]) -> str:
    return "all" if len(models) == len(MODELS) else ", ".join(MODELS[model] for model in models)


def _column(heading: str, cell: str) -> dict[str, str]:
    return {"heading": heading, "cell": cell}
