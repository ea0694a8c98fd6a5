"""What `memr calibrate` proposes for real completions: four models' solutions of the GSM8K test questions.

    python benchmarks/calibration.py [QUESTIONS]

A run with the default encoder gets one request per question (by default all 1,319, with 5,276 solutions). Then limits
are requested. Encoding takes most of the time; the last line separates it from the calibration.
"""

from __future__ import annotations

import sys
import time
from itertools import islice
from pathlib import Path

from memr_client import RewardClient
from memr_service.cli.calibrate import table
from memr_service.cli.terminal import out

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.real_data import solutions


def main(count: int) -> None:
    """Fill a run, and print the proposed limits."""
    with RewardClient.embedded(run="gsm8k") as client:
        client.create_run(preset="memory-r+", explore_warmup_steps=0)
        begun = time.perf_counter()
        for question in islice(solutions(), count):
            answers = question["solutions"]
            said, right = [one["solution"] for one in answers], [one["is_correct"] for one in answers]
            client.reward([question["question"]] * len(answers), said, right)
        filled = time.perf_counter()
        found = client.calibrate()
        calibrated = time.perf_counter()
    out.print(table(found))
    out.print(found.config)
    print(f"{filled - begun:.0f} s to score {count} questions, {calibrated - filled:.1f} s to calibrate")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else len(solutions()))
