"""No server: the same service inside this process, for notebooks and small runs.

python examples/embedded.py
python examples/embedded.py --encoder hashed      # no model needed
"""

from __future__ import annotations

import argparse
import tempfile

from memr_client import RewardClient

PROMPT = "A train travels 60 km in 45 minutes. What is its speed in km/h?"
COMPLETIONS = [
    "45 minutes are 0.75 hours. 60 / 0.75 = 80 km/h.",
    "In 15 minutes it travels 20 km, so in 60 minutes it travels 80 km: 80 km/h.",
    "60 * 45 = 2700 km/h.",
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    encoder = parser.parse_args().encoder
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}"  # leave it out and the memory is forgotten when the client closes
        with RewardClient.embedded(store, run="notebook", encoder=encoder) as client:
            client.create_run(explore_warmup_steps=0)
            answer = client.reward([PROMPT] * 3, COMPLETIONS, [1, 1, 0])
            for completion, reward in zip(COMPLETIONS, answer.rewards, strict=True):
                print(f"{reward:.3f}  {completion}")
            print("of its parts:", answer.components["exploit"].raw, answer.components["explore"].raw)

        # What was acknowledged is on disk. mode="eval" asks without leaving a trace.
        with RewardClient.embedded(store, run="notebook", encoder=encoder) as client:
            asked = client.reward([PROMPT], ["60 / 0.75 = 80 km/h."], [1], mode="eval")
            print(f"a day later: exploit {asked.components['exploit'].raw[0]:.3f}")


if __name__ == "__main__":
    main()
