"""Which precision `auto` means: tried on this machine when a model is loaded; before that, guessed from its files."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from memr_service.encoder import cpu

if TYPE_CHECKING:
    from memr_service.encoder.base import Encoder

SENTENCE = "She had 12 apples, gave 5 of them away and bought twice as many, so now she has 12 - 5 + 10 = 17 apples. "
TEXTS = [*(SENTENCE * count for count in (4, 2, 1)), "17"]
"""About 240 tokens, of several lengths; a few tenths of a second on a slow core."""
COSINE = 0.9999
"""bfloat16 is chosen only if every text of the trial has at least this cosine between the two precisions."""
FASTER = 1.1
"""And only if it is this many times faster, since float32 has the advantage of being equal to 1e-5 on any machine."""


@dataclass(frozen=True)
class Trial:
    """A precision, and why it was chosen."""

    precision: str
    reason: str


def compare(encoder: Encoder) -> Trial:
    """Encode the texts in both precisions, twice; the first time includes one-time work."""
    seconds: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    vectors = {}
    for _ in range(2):
        for precision, took in seconds.items():
            begun = time.perf_counter()
            vectors[precision] = encoder.encode(TEXTS, precision).vectors
            took.append(time.perf_counter() - begun)
    ratio = min(seconds["float32"]) / min(seconds["bfloat16"])
    cosine = float(np.einsum("nd,nd->n", vectors["float32"], vectors["bfloat16"]).min())
    better = ratio >= FASTER and cosine >= COSINE
    reason = f"bfloat16 takes {1 / ratio:.2f} times as long as float32, cosine {cosine:.5f}"
    return Trial("bfloat16" if better else "float32", reason)


def expected(folder: Path) -> str:
    """What a trial of the model in a folder will likely find: bfloat16 for a BERT, if the processor has it."""
    listed = folder / "modules.json"
    modules = json.loads(listed.read_text("utf-8")) if listed.is_file() else []
    config = folder / modules[0]["path"] / "config.json" if modules else folder / "config.json"
    known = json.loads(config.read_text("utf-8")) if config.is_file() else {}
    return "bfloat16" if known.get("model_type") == "bert" and cpu.bfloat16() else "float32"
