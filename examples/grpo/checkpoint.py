"""Checkpoints of policy, optimiser, metrics and memory, from which training continues exactly.

They hold no state of random generators, because every step draws its random numbers from the seed and its own number.
Nor do they hold the learning rate, which is a function of the step.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from memr_client import RewardClient

from examples.grpo.config import Config
from examples.grpo.measures import Row
from examples.grpo.policy import Policy

NAME = "checkpoint.pt"


def save(
    folder: Path,
    step: int,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    rows: list[Row],
    memory: RewardClient | None,
) -> None:
    """Save the state after `step` steps, replacing the earlier checkpoint.

    The memory's checkpoint is created before the file, and the file is replaced atomically. So whenever the process is
    killed, there is a complete file, and the memory has the checkpoint that belongs to it.
    """
    if memory is not None:
        memory.create_checkpoint(None, _name(step), step=step)
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"step": step, "weights": _trained(policy), "optimizer": optimizer.state_dict(), "rows": rows}
    unfinished = folder / f"{NAME}.{os.getpid()}"
    torch.save(kept, unfinished)
    unfinished.replace(folder / NAME)
    if memory is not None:
        for older in memory.checkpoints():
            if older.name != _name(step):
                memory.delete_checkpoint(None, older.name)


def begin(
    config: Config, policy: Policy, optimizer: torch.optim.Optimizer, memory: RewardClient | None
) -> tuple[int, list[Row]]:
    """Load the checkpoint in the output folder, or save the one of step 0.

    Returns:
        The number of steps done, and their metrics.

    Raises:
        FileExistsError: the memory is not empty, but there is no checkpoint.
    """
    if config.output is not None and (config.output / NAME).exists():
        return load(config.output, policy, optimizer, memory)
    if memory is not None and (seen := memory.run().step) is not None:
        raise FileExistsError(
            f"the memory {config.memory_run!r} has seen steps up to {seen}, but there is no checkpoint to continue "
            "from: choose another memory_run or output, or delete the run"
        )
    if config.output is not None:
        save(config.output, 0, policy, optimizer, [], memory)
    return 0, []


def load(
    folder: Path, policy: Policy, optimizer: torch.optim.Optimizer, memory: RewardClient | None
) -> tuple[int, list[Row]]:
    """Load the folder's checkpoint.

    Returns:
        The number of steps done, and their metrics.
    """
    kept = torch.load(folder / NAME, map_location=policy.device, weights_only=True)
    weights = _trained(policy)
    with torch.no_grad():
        for name, weight in kept["weights"].items():
            weights[name].copy_(weight)
    optimizer.load_state_dict(kept["optimizer"])
    if memory is not None:
        memory.restore(None, _name(kept["step"]))
    return kept["step"], kept["rows"]


def _trained(policy: Policy) -> dict[str, torch.Tensor]:
    """The trainable weights; with LoRA only the adapters."""
    return {name: weight.detach() for name, weight in policy.model.named_parameters() if weight.requires_grad}


def _name(step: int) -> str:
    return f"step-{step}"
