"""Outcomes: the verdicts of the reward function that verl would have called."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

Outcome = Callable[..., Any] | str | None
"""A reward function in verl's form, or where to load it from: `path/file.py:name` or `pkg://module:name`. None: verl's
default for the data source."""

VERL_PARAMETERS = frozenset({"reward_router_address", "reward_model_tokenizer"})
"""Parameters that verl passes to every reward function if it serves a reward model."""


@dataclass(frozen=True)
class Verdict:
    """A reward function's verdict on a completion."""

    outcome: float
    """The function's `acc`, or its score if it has none. The memory stores completions by it."""
    score: float
    """The function's `score`, which verl trains on. It may include more than the outcome."""
    extra: dict[str, Any]
    """Everything that the function returned."""


def verdict_of(returned: Any) -> Verdict:
    """The verdict that a reward function returned: a number, or a dict with `score` and optionally `acc`."""
    extra = dict(returned) if isinstance(returned, Mapping) else {"score": returned}
    score = float(extra["score"])
    outcome = float(extra.setdefault("acc", score))
    return Verdict(outcome, score, extra)


def judge(function: Outcome, sample: Mapping[str, Any], passed_on: Mapping[str, Any]) -> Verdict:
    """Call the function for one sample.

    Args:
        function: the reward function.
        sample: verl's arguments for it.
        passed_on: further arguments, given to the function if it has parameters of these names.

    Raises:
        TypeError: the function is asynchronous, or an argument fits no parameter.
    """
    called = load(function)
    if inspect.iscoroutinefunction(called):
        raise TypeError(f"{called!r} is asynchronous: use compute_score_async")
    return verdict_of(called(**sample, **_accepted(called, passed_on)))


async def judge_async(function: Outcome, sample: Mapping[str, Any], passed_on: Mapping[str, Any]) -> Verdict:
    """Like `judge`, for plain and asynchronous functions. A plain function runs in a thread, as in verl."""
    called = load(function)
    accepted = _accepted(called, passed_on)
    if inspect.iscoroutinefunction(called):
        return verdict_of(await called(**sample, **accepted))
    return verdict_of(await asyncio.to_thread(called, **sample, **accepted))


@cache
def load(function: Outcome) -> Callable[..., Any]:
    """Load the function if it is given by its path.

    Raises:
        ValueError: the path names no function.
        FileNotFoundError, ImportError, AttributeError: the file, module or function does not exist.
    """
    found: Callable[..., Any]
    if function is None:
        from verl.utils.reward_score import default_compute_score

        found = default_compute_score
    elif isinstance(function, str):
        from verl.utils.import_utils import load_extern_object

        path, _, name = function.rpartition(":")
        if not path or "/" in name:
            raise ValueError(f"outcome={function!r} names no function: write path/file.py:name or pkg://module:name")
        found = load_extern_object(path, name)
    else:
        found = function
    return found


def _accepted(function: Callable[..., Any], passed_on: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that the function accepts. An unknown one is refused, because it may be a misspelt option."""
    parameters = inspect.signature(function).parameters.values()
    named: Collection[str] = {one.name for one in parameters}
    anything = any(one.kind is one.VAR_KEYWORD for one in parameters)
    if unknown := passed_on.keys() - named - VERL_PARAMETERS:
        raise TypeError(f"{sorted(unknown)} are neither options of memr nor parameters of the outcome {function!r}")
    return {name: value for name, value in passed_on.items() if anything or name in named}
