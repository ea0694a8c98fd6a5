"""How fast is a replay, and what is the effect of K? All 5,276 GSM8K solutions are scored once, then replayed.

    python benchmarks/replay.py                   # with the default encoder; hashed is quicker to begin with
    python benchmarks/replay.py --encoder hashed --times 4
    python benchmarks/replay.py --figure sweep.png

Times are processor seconds on one core. `again` is the run's own config, verified record by record.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a replay has one core

import numpy as np
from memr_client import RewardClient
from memr_client.schemas import RunConfig
from memr_service.cli import figures
from memr_service.insight.replay.comparison import Comparison
from memr_service.insight.replay.replay import replay, what_if
from memr_service.run import archive

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.real_data import solutions

QUESTIONS = 16
"""Questions in a request, four solutions each."""
SETTINGS = {"again": {}, "k 1": {"k": 1}, "k 5": {"k": 5}, "k 10": {"k": 10}, "k 20": {"k": 20}}


def journal(encoder: str, folder: Path, times: int = 1) -> io.BytesIO:
    """The exported file of a run over all solutions, with the questions in random order."""
    questions = solutions()
    order = np.random.default_rng(0).permutation(len(questions))
    file = folder / "run.memr"
    with RewardClient.embedded(run="gsm8k", encoder=encoder) as client:
        client.create_run(preset="memory-r+", explore_warmup_steps=10)
        for step, start in enumerate(range(0, len(order), QUESTIONS)):
            rows = [
                (questions[at]["question"], one) for at in order[start : start + QUESTIONS]
                for one in questions[at]["solutions"] * times
            ]  # fmt: skip
            client.reward(
                [question for question, _ in rows],
                [one["solution"] for _, one in rows],
                [float(one["is_correct"]) for _, one in rows],
                step=step,
            )
        client.export_run("gsm8k", file)
    return io.BytesIO(file.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument(
        "--times", type=int, default=1, help="times to send each solution; 4 makes groups of 16, to measure speed"
    )
    parser.add_argument("--figure", type=Path, help="draw the comparison into this PNG file, like `memr replay`")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = journal(asked.encoder, Path(folder), asked.times)
    recorded = RunConfig.model_validate_json(archive.read_header(file).config)
    comparison = Comparison("gsm8k", recorded)
    seconds = []
    for fields in SETTINGS.values():
        file.seek(0)
        law = archive.read_header(file).law
        records = (record for record, _ in archive.read_records(file))
        config = what_if(recorded, RunConfig(**fields), bounded=False)
        begun = time.process_time()
        *_, done = comparison.take(config, replay(recorded, config, records, law))
        seconds.append(time.process_time() - begun)
    result = comparison.result()
    print(f"{'setting':8} {'s':>6} {'items/s':>9} {'r':>7} {'AUC':>6} {'exploit':>8} {'explore':>8}  reproduced")
    for name, took, one in zip(SETTINGS, seconds, result.settings, strict=True):
        same = "" if one.chain is None else "all" if one.difference is None else str(one.difference)
        aucs = [one.scored.reward.auc, one.scored.raw["exploit"].auc, one.scored.raw["explore"].auc]
        print(f"{name:8} {took:6.2f} {done / took:9,.0f} {one.correlation or 0:7.3f} {aucs[0] or 0:6.3f}", end=" ")
        print(f"{aucs[1] or 0:8.3f} {aucs[2] or 0:8.3f}  {same}")
    if asked.figure:
        figures.sweep(result, list(SETTINGS), asked.figure)


if __name__ == "__main__":
    main()
