"""Names of splits: which mean training, which evaluation. One list for all trainers."""

from __future__ import annotations

import re
from typing import Any, Literal

TRAINING = frozenset({"train", "training"})
EVALUATION = frozenset({"test", "testing", "val", "valid", "validation", "eval", "evaluation", "dev", "holdout"})
"""Words in the names of splits, in any case: test_easy, Validation, gsm8k-train."""


def phase_of(split: Any) -> Literal["train", "eval"] | None:
    """What a split's name says; None if it says neither, or both."""
    words = set(re.findall(r"[a-z]+", str(split).lower()))
    found = (bool(words & TRAINING), bool(words & EVALUATION))
    return {(True, False): "train", (False, True): "eval"}.get(found)  # type: ignore[return-value]


def unknown_split(split: Any) -> str:
    """The warning about a split whose name says neither; its completions are scored and not remembered."""
    return (
        f"split {str(split)[:80]!r} is neither training ({', '.join(sorted(TRAINING))}) nor evaluation "
        f"({', '.join(sorted(EVALUATION))}). Its completions are scored, not remembered. Rename it if it is training."
    )
