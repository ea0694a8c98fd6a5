"""Could a plan judge unseen prompts by their text? Six features of a question, on GSM8K's solutions by four models.

    python -m benchmarks.text_features        # seconds

The features: characters, words, numbers, sentences, percent signs and words for fractions. A logistic regression is
fitted to four fifths of the 1,319 questions and foresees the rest. For each model it foresees whether its solution is
right; for the four solutions together, as a group, whether it has spread. Prints the table and writes
`docs/results/text-features.json`.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.published import publish, table

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.real_data import solutions

FRACTION = re.compile(r"\b(?:half|third|quarter|fifth|twice|double|triple)\w*", re.IGNORECASE)
FOLDS, BEST = 5, 0.25
CELLS = {
    "what is foreseen": "{what}",
    "share": "{share:.0%}",
    "AUC": "{auc:.2f}",
    "Brier score": "{brier:.3f}",
    "of the mean": "{base:.3f}",
    "share among the quarter that is foreseen to have most": "{best:.0%}",
}


def features(question: str) -> list[int]:
    """The six features of a question."""
    counts = (re.findall(r"\d+", question), re.findall(r"[.?!]", question), FRACTION.findall(question))
    numbers, sentences, fractions = map(len, counts)
    return [len(question), len(question.split()), numbers, sentences, question.count("%"), fractions]


def foreseen(what: str, seen: np.ndarray, came: np.ndarray) -> dict[str, Any]:
    """How well features (m, 6) foresee what came (m,) bool, each question by a fit without it."""
    model = make_pipeline(StandardScaler(), LogisticRegression())
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    p = cross_val_predict(model, seen, came, cv=folds, method="predict_proba")[:, 1]
    share = float(came.mean())
    best = np.argsort(-p, kind="stable")[: round(BEST * len(p))]
    return {
        "what": what,
        "share": share,
        "auc": float(roc_auc_score(came, p)),
        "brier": float(brier_score_loss(came, p)),
        "base": share * (1 - share),
        "best": float(came[best].mean()),
    }


def main() -> None:
    began, asked = time.perf_counter(), solutions()
    seen = np.log1p(np.array([features(one["question"]) for one in asked], np.float64))
    right = np.array([[solution["is_correct"] for solution in one["solutions"]] for one in asked])
    rows = [foreseen(f"model {number} is right", seen, right[:, number - 1]) for number in range(1, right.shape[1] + 1)]
    rows.append(foreseen("the four differ", seen, right.any(axis=1) & ~right.all(axis=1)))
    for row in rows:
        print(" ".join(f"{name} {value:.3f}" if name != "what" else value for name, value in row.items()))
    publish(
        "text-features",
        command="python -m benchmarks.text_features",
        seconds=time.perf_counter() - began,
        on="",
        **table("What six features of a GSM8K question foresee, each question by a fit without it", CELLS, rows),
    )


if __name__ == "__main__":
    main()
