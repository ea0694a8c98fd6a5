"""A small GRPO trainer to read, with a memory reward from memr."""

from examples.grpo.config import Config
from examples.grpo.train import Result, train

__all__ = ["Config", "Result", "train"]
