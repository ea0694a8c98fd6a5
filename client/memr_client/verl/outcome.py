"""Outcomes: what the function that verl would have called says of a completion."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

Outcome = Callable[..., Any] | str | None
"""A reward function in verl's form, or its place: `path/file.py:name`, `pkg://module:name`; None is verl's default."""

OF_VERL = frozenset({"reward_router_address", "reward_model_tokenizer"})
"""What verl passes to every reward function where a reward model is served."""


@dataclass(frozen=True)
class Verdict:
    """What a reward function said of a completion."""

    outcome: float
    """Whether it is right: what the memory goes by."""
    score: float
    """What verl would have trained on: the outcome, and whatever else the function rewards."""
    extra: dict[str, Any]
    """All that it returned."""


def verdict(said: Any) -> Verdict:
    """A reward function's result: a number, or a dict with a `score` and, where the outcome is another, an `acc`."""
    extra = dict(said) if isinstance(said, Mapping) else {"score": said}
    score = float(extra["score"])
    outcome = float(extra.setdefault("acc", score))
    return Verdict(outcome, score, extra)


def judge(function: Outcome, sample: Mapping[str, Any], passed_on: Mapping[str, Any]) -> Verdict:
    """Call the function for one sample.

    Raises:
        TypeError: it is asynchronous, or does not take what would be passed on.
    """
    called = load(function)
    if inspect.iscoroutinefunction(called):
        raise TypeError(f"{called!r} is asynchronous: take compute_score_async")
    return verdict(called(**sample, **_taken(called, passed_on)))


async def judge_async(function: Outcome, sample: Mapping[str, Any], passed_on: Mapping[str, Any]) -> Verdict:
    """`judge`, for a function of either kind; one that is not asynchronous runs in a thread, as verl runs it."""
    called = load(function)
    taken = _taken(called, passed_on)
    if inspect.iscoroutinefunction(called):
        return verdict(await called(**sample, **taken))
    return verdict(await asyncio.to_thread(called, **sample, **taken))


@cache
def load(function: Outcome) -> Callable[..., Any]:
    """The function itself.

    Raises:
        ValueError: a place without a name. FileNotFoundError, ImportError, AttributeError: nothing is there.
    """
    found: Callable[..., Any]
    if function is None:
        from verl.utils.reward_score import default_compute_score

        found = default_compute_score
    elif isinstance(function, str):
        from verl.utils.import_utils import load_extern_object

        path, _, name = function.rpartition(":")
        if not path or "/" in name:
            raise ValueError(f"outcome={function!r} names no function: say path/file.py:name or pkg://module:name")
        found = load_extern_object(path, name)
    else:
        found = function
    return found


def _taken(function: Callable[..., Any], passed_on: Mapping[str, Any]) -> dict[str, Any]:
    """What of `passed_on` the function takes. An option that nobody knows is a misspelt one."""
    parameters = inspect.signature(function).parameters.values()
    named: Collection[str] = {one.name for one in parameters}
    anything = any(one.kind is one.VAR_KEYWORD for one in parameters)
    if unknown := passed_on.keys() - named - OF_VERL:
        raise TypeError(f"{sorted(unknown)} are neither options of memr nor parameters of the outcome {function!r}")
    return {name: value for name, value in passed_on.items() if anything or name in named}
