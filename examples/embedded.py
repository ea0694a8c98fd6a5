"""The service inside this process, without a server, for notebooks and small runs.

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
        store = f"sqlite:///{folder}"  # without it, the memory is lost when the client closes
        with RewardClient.embedded(store, run="notebook", encoder=encoder) as client:
            client.create_run(explore_warmup_steps=0)
            response = client.reward([PROMPT] * 3, COMPLETIONS, [1, 1, 0])
            for completion, reward in zip(COMPLETIONS, response.rewards, strict=True):
                print(f"{reward:.3f}  {completion}")
            print("raw components:", response.components["exploit"].raw, response.components["explore"].raw)

        # The memory is on disk. mode="eval" reads it and changes nothing.
        with RewardClient.embedded(store, run="notebook", encoder=encoder) as client:
            response = client.reward([PROMPT], ["60 / 0.75 = 80 km/h."], [1], mode="eval")
            print(f"a day later: exploit {response.components['exploit'].raw[0]:.3f}")


if __name__ == "__main__":
    main()
