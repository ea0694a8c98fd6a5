"""The calls of a training loop: one client, one run with its own config, one call per step.

memr serve &
python examples/client.py --url http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse

from memr_client import Conflict, RewardClient

STEPS = [
    ("What is 6 * 7?", ["6 * 7 = 42.", "6 * 7 means 7 + 7 + 7 + 7 + 7 + 7 = 42.", "6 + 7 = 13."], [1, 1, 0]),
    ("What is 6 * 8?", ["6 * 8 = 48.", "6 + 8 = 14.", "6 * 8 = 46."], [1, 0, 0]),
    ("What is 9 * 7?", ["9 * 7 = 63.", "9 * 7 = 63, because 10 * 7 - 7 = 63.", "9 + 7 = 16."], [1, 1, 0]),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    # wait: a trainer and its reward service often start together, so the server may still be starting.
    with RewardClient(parser.parse_args().url, run="example-client", wait=60) as client:
        client.create_run(k=2, explore_warmup_steps=0)
        for step, (prompt, completions, outcomes) in enumerate(STEPS):
            response = client.reward([prompt] * len(completions), completions, outcomes, step=step)
            print(f"step {step}:", [round(reward, 3) for reward in response.rewards])

        info = client.run()
        stored = info.memory
        print(f"stored: {stored.success.completions} right, {stored.failure.completions} wrong; chain {info.chain[:8]}")
        try:
            client.create_run(k=20)  # refused: its first record froze its config; two experiments share no name
        except Conflict as error:
            print("refused:", error.detail)


if __name__ == "__main__":
    main()
