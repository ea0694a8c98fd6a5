"""Supervised warm start of a policy from a task's demonstrations, kept for each seed."""

from __future__ import annotations

import hashlib
import inspect
import os
import random
from pathlib import Path
from typing import NamedTuple

import torch

from examples.grpo.policy import Policy, score
from examples.grpo.tasks.task import Lesson, Question


class Recipe(NamedTuple):
    """How demonstrations are learned."""

    batch: int
    learning_rate: float
    """At its peak: it rises linearly over the first steps, then falls linearly to 0."""
    rise: int
    """Steps over which it rises."""


TINY = Recipe(batch=64, learning_rate=6e-3, rise=20)
PRETRAINED = Recipe(batch=16, learning_rate=2e-4, rise=10)
BETAS = (0.9, 0.95)


def warm_start(
    policy: Policy, task: Lesson, seed: int, folder: Path, lessons: int | None = None, recipe: Recipe = TINY
) -> None:
    """Set the policy's weights to those trained on the demonstrations. Weights found in `folder` are reused.

    Args:
        lessons: steps of supervised learning. Default: the task's.
    """
    lessons = task.lessons if lessons is None else lessons
    path = folder / f"{task.name}-{seed}-{lessons}-{_fingerprint(policy, task, recipe)}.pt"
    weights = {name: weight for name, weight in policy.model.named_parameters() if weight.requires_grad}
    if not path.exists():
        teach(policy, task, seed, lessons, recipe)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        torch.save({name: weight.detach() for name, weight in weights.items()}, unfinished)
        unfinished.replace(path)
    with torch.no_grad():
        for name, weight in torch.load(path, map_location=policy.device, weights_only=True).items():
            weights[name].copy_(weight)


def teach(policy: Policy, task: Lesson, seed: int, lessons: int, recipe: Recipe = TINY) -> None:
    """Train on demonstrations."""
    dice = random.Random(f"lessons {seed}")
    weights = [weight for weight in policy.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, betas=BETAS, weight_decay=0.0)
    for step in range(lessons):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min((step + 1) / recipe.rise, 1 - step / lessons)
        shown = [task.demonstration(dice) for _ in range(recipe.batch)]
        prompts = [policy.prompt(Question(question, "")) for question, _ in shown]
        completions = [policy.completion(text) for _, text in shown]
        scores = score(policy, policy.model, prompts, completions, temperature=1.0)
        optimizer.zero_grad()
        torch.autograd.backward(-scores.logp[scores.mask].mean())
        optimizer.step()


def _fingerprint(policy: Policy, task: Lesson, recipe: Recipe) -> str:
    """A hash of the weights at the start and of the code that trains them, so that outdated ones are not reused."""
    weights = [(tuple(weight.shape), float(weight.detach().flatten()[0])) for weight in policy.model.parameters()]
    code = [Path(inspect.getfile(own)).read_text("utf-8") for own in (type(task), type(policy.model), score, teach)]
    return hashlib.sha256(f"{torch.__version__} {weights} {code} {recipe}".encode()).hexdigest()[:12]
