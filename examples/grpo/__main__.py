"""One training from the command line; the options are `Config`'s fields.

python -m examples.grpo --model tiny --task clock --memory '{"components": {"exploit": 2}}' --output reports/clock
"""

from __future__ import annotations

from pydantic_settings import CliApp

from examples.grpo.config import Config
from examples.grpo.train import train


def main() -> None:
    """Train, then print the accuracies."""
    config = CliApp.run(Config)
    result = train(config)
    for step, accuracy in result.curve:
        print(f"step {step:4d}  accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
