"""A GRPO trainer that is meant to be read, with a memory reward from memr."""

from examples.grpo.config import Config
from examples.grpo.train import Result, train

__all__ = ["Config", "Result", "train"]
