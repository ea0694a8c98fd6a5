"""How fast are real completions encoded on one core, what is the limit, and how close is bfloat16 to float32?

    python -m benchmarks.encoder                 # QUICK=1: fewer texts; keep the machine otherwise idle

Speed: sentence-transformers with its defaults (batches of 32, float32) and memr's encoders alternate on the same
completions, with one thread each. Processor time is measured, including the tokenizer. The limit is the speed at which
the processor would only compute the model's matrix products, each as fast as one large `torch.mm` in bfloat16.

Agreement: every completion and question of the real data is encoded in both precisions, and `memory-r+` scores them in
groups of four with either embeddings. The service always encodes questions in float32: if two stored questions are
nearly equally near, rounding may select the other one, whose completions differ. A second row shows the effect.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from memr_client import Embeddings, RewardClient
from memr_client.schemas import RunConfig
from memr_service.encoder import SentenceEncoder, cpu, model_files
from memr_service.state.window import window_bounds
from sentence_transformers import SentenceTransformer

from benchmarks.report import FOLDER, Report, Row, quick

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.real_data import Question, solutions

MODEL = "all-MiniLM-L6-v2"
BASE = "sentence-transformers"
TEXTS, ROUNDS = (64, 3) if quick() else (256, 5)
QUESTIONS = 100 if quick() else None
"""Number of questions for which agreement is measured; None: all."""
FLOOR = 4.5 if cpu.bfloat16() else 1.25
LIMIT = 5e-3
"""Largest allowed difference between a reward and that of float32."""
MM = 2048
"""Rows and columns of the large product."""

Work = Callable[[list[str]], object]


@dataclass(frozen=True)
class Pace:
    """Texts per second of processor time, one value per round."""

    rounds: list[float]

    @property
    def middle(self) -> float:
        return median(self.rounds)

    def over(self, other: Pace) -> float:
        """Speed-up: the median ratio over rounds, since the variants of a round run under the same load."""
        return median(mine / theirs for mine, theirs in zip(self.rounds, other.rounds, strict=True))


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread for all encoding."""
    before, tokenizers = torch.get_num_threads(), os.environ.get("TOKENIZERS_PARALLELISM")
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        torch.set_num_threads(before)
        del os.environ["TOKENIZERS_PARALLELISM"]
        if tokenizers is not None:
            os.environ["TOKENIZERS_PARALLELISM"] = tokenizers


def variants(encoder: SentenceEncoder) -> dict[str, Work]:
    """Variant -> a function that encodes a list of texts; the baseline is first."""
    plain = SentenceTransformer(str(model_files.find_model(MODEL)), device="cpu")

    def in_requests(size: int, texts: list[str]) -> None:
        for at in range(0, len(texts), size):
            encoder.encode(texts[at : at + size], "bfloat16")

    return {
        BASE: lambda texts: plain.encode(texts, batch_size=32, show_progress_bar=False),
        "float32": lambda texts: encoder.encode(texts, "float32"),
        "bfloat16": lambda texts: encoder.encode(texts, "bfloat16"),
        "bfloat16, 64 a request": partial(in_requests, 64),
        "bfloat16, 16 a request": partial(in_requests, 16),
    }


def paces(works: dict[str, Work], texts: list[str]) -> dict[str, Pace]:
    """Measure all variants alternately, after one round of warm-up."""
    rounds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(ROUNDS + 1):
        for name, work in works.items():
            begun = time.process_time()
            work(texts)
            if turn:
                rounds[name].append(len(texts) / (time.process_time() - begun))
    return {name: Pace(found) for name, found in rounds.items()}


def gigaflops(config: Any, lengths: np.ndarray) -> float:
    """Mean number of floating-point operations in a BERT's matrix products, for texts of these lengths in tokens (n,).

    2 (4 d^2 + 2 d d_ff) per token and layer for the linear ones, and 4 L d for attention.
    """
    width, layers = config.hidden_size, config.num_hidden_layers
    linear = 2 * (4 * width**2 + 2 * width * config.intermediate_size)
    return float(np.mean(lengths * layers * (linear + 4 * lengths * width))) / 1e9


def peak(dtype: torch.dtype) -> float:
    """GFLOP/s of one large product, the best of five."""
    left, right = (torch.randn(MM, MM).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(5):
        begun = time.process_time()
        torch.mm(left, right)
        best = max(best, 2 * MM**3 / (time.process_time() - begun) / 1e9)
    return best


def speed_rows(encoder: SentenceEncoder) -> tuple[list[Row], dict[str, Pace]]:
    """Rows of the speed-ups and of their limit."""
    everything = [answer["solution"] for question in solutions() for answer in question["solutions"]]
    texts = [everything[number] for number in np.random.default_rng(0).choice(len(everything), TEXTS, replace=False)]
    with one_thread():
        found = paces(variants(encoder), texts)
        single, half = peak(torch.float32), peak(torch.bfloat16)
        model, tokenizer = encoder._model[0].auto_model, encoder._tokenizer
        tokens = tokenizer(texts, truncation=True, max_length=encoder.max_length)["input_ids"]
        work = gigaflops(model.config, np.array([len(ids) for ids in tokens]))
    base, best = found[BASE], max((found["float32"], found["bfloat16"]), key=lambda pace: pace.middle)
    rows = [
        Row("encoder_speedup", best.over(base), "x", FLOOR, 7.5),
        Row("encoder_speedup_float32", found["float32"].over(base), "x", 1.25),
        Row("encoder_speedup_bound", half / work / base.middle, "x"),
        Row("encoder_gflops", best.middle * work, "GFLOP/s"),
        Row("mm_gflops_float32", single, "GFLOP/s"),
        Row("mm_gflops_bfloat16", half, "GFLOP/s"),
        Row("encoder_share_of_peak", best.middle * work / half, ""),
    ]
    return [*rows, *(Row(f"texts_per_core_s/{name}", pace.middle, "texts/s") for name, pace in found.items())], found


def agreement_rows(encoder: SentenceEncoder) -> tuple[list[Row], np.ndarray]:
    """Rows of the smallest cosine and the largest difference of rewards between the precisions; every text's cosine."""
    asked = solutions()[:QUESTIONS]
    prompts = [question["question"] for question in asked]
    completions = [answer["solution"] for question in asked for answer in question["solutions"]]
    exact, rounded = (encoder.encode(prompts + completions, how).vectors for how in ("float32", "bfloat16"))
    cosines = np.einsum("nd,nd->n", exact.astype(float), rounded.astype(float))
    mixed = np.concatenate([exact[: len(asked)], rounded[len(asked) :]])
    (paid, raw), (served, moved), (other, _) = (rewards(asked, vectors) for vectors in (exact, mixed, rounded))
    rows = [Row("encoder_min_cosine", float(cosines.min()), "", 0.9999)]
    for suffix, found, limit in (("", served, LIMIT), ("_rounded_questions", other, None)):
        differences = np.abs(found - paid)
        rows += [
            Row(f"encoder_reward_difference{suffix}", float(differences.max()), "", limit, at_most=True),
            Row(f"encoder_rewards_within_limit{suffix}", float(np.mean(differences <= LIMIT)), ""),
        ]
    differences, bounds = np.abs(served - paid), np.sum([bound(raw[name], moved[name]) for name in raw], axis=0)
    farthest = int(differences.argmax())
    rows += [
        Row("encoder_raw_difference", max(float(np.nanmax(np.abs(raw[name] - moved[name]))) for name in raw), ""),
        Row("encoder_reward_difference_over_bound", float((differences / bounds).max()), "", 1.0, at_most=True),
        Row("encoder_bound_of_largest_difference", float(bounds[farthest]), ""),
        Row("encoder_item_of_largest_difference", farthest, ""),
    ]
    return rows, cosines


def bound(exact: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    """The most that each scaled value (n,) can move when raw values do: twice the largest move in its window, over the
    window's range. A window is narrow where its raw values nearly tie, as in the first requests of a run."""
    defined = ~np.isnan(exact)
    size, values, moves = RunConfig().window, rounded[defined], np.abs(exact - rounded)[defined]
    lowest, highest = window_bounds(np.empty(0), values, size)
    _, largest = window_bounds(np.empty(0), moves, size)
    bounds = np.full(len(exact), 1e-6)  # what float64 rounds, and the window's epsilon
    bounds[defined] += 2 * largest / np.maximum(highest - lowest, 1e-6)
    return bounds


def rewards(asked: list[Question], vectors: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rewards of Memory-R+ for groups of four (n,), and each component's raw values (n,), NaN for none.

    Args:
        vectors: the questions' embeddings, then the completions'.
    """
    paid: list[float] = []
    raw: dict[str, list[float]] = {}
    with RewardClient.embedded("memory:", run="groups", encoder="hashed") as client:
        client.create_run(preset="memory-r+")
        at = len(asked)
        for number, question in enumerate(asked):
            said = question["solutions"]
            sent = Embeddings(prompts=vectors[[number] * len(said)], completions=vectors[at : at + len(said)])
            response = client.reward(
                [question["question"]] * len(said),
                [one["solution"] for one in said],
                [float(one["is_correct"]) for one in said],
                step=number,
                embeddings=sent,
            )
            paid += response.rewards
            for name, component in response.components.items():
                raw.setdefault(name, []).extend(np.nan if one is None else one for one in component.raw)
            at += len(said)
    return np.array(paid), {name: np.array(values) for name, values in raw.items()}


def draw(found: dict[str, Pace], bound: float, cosines: np.ndarray, path: Path) -> None:
    """Draw the speeds with their spread and limit, and the distribution of cosines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    middles = np.array([pace.middle for pace in found.values()])
    ends = np.array([[min(pace.rounds), max(pace.rounds)] for pace in found.values()])
    left.barh(list(found), middles, xerr=np.abs(ends.T - middles), color="#4c72b0")
    left.axvline(bound, color="#c44e52", linestyle="--", label="matrix products alone, at the peak")
    left.invert_yaxis()
    left.set_xlabel("completions per second of one core")
    left.legend(loc="upper right", bbox_to_anchor=(0.98, 0.98))
    right.hist(np.log10(np.maximum(1 - cosines, 1e-8)), bins=40, color="#4c72b0")
    right.axvline(-4, color="#c44e52", linestyle="--", label="limit")
    right.set_xlabel("log10(1 - cosine between bfloat16 and float32)")
    right.set_ylabel("texts")
    right.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def measured() -> tuple[list[Row], dict[str, Pace], np.ndarray]:
    """Measure everything: rows, speeds and cosines."""
    encoder = SentenceEncoder(MODEL, "cpu")
    speed, found = speed_rows(encoder)
    agreement, cosines = agreement_rows(encoder)
    return speed + agreement, found, cosines


def rows() -> list[Row]:
    """Run the benchmark."""
    return measured()[0]


def main() -> None:
    report = Report("encoder")
    report.rows, found, cosines = measured()
    values = {row.name: row.value for row in report.rows}
    draw(found, values["encoder_speedup_bound"] * found[BASE].middle, cosines, FOLDER / "encoder.png")
    print(f"{'':<45}{'value':>12}  {'unit':<9}{'floor':>8}{'goal':>8}  holds")
    for row in report.rows:
        limits = "".join(f"{'' if limit is None else limit:>8}" for limit in (row.floor, row.goal))
        holds = {True: "yes", False: "NO", None: ""}[row.holds]
        print(f"{row.name:<45}{row.value:>12.6g}  {row.unit:<9}{limits}  {holds}")
    for name, pace in found.items():
        spread = f"{min(pace.rounds):.1f} to {max(pace.rounds):.1f}"
        print(f"{name:<30}{pace.middle:>7.1f} completions/core-s ({spread}), {pace.over(found[BASE]):.2f} x")
    print(report.write())


if __name__ == "__main__":
    main()
