"""`compute_score`: the memory as a reward function of verl, which calls it for one completion at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memr_client.schemas import RewardResponse
from memr_client.verl.memory import Memory, memory_for
from memr_client.verl.options import NAMES, read_options
from memr_client.verl.outcome import Outcome, Verdict, judge, judge_async
from memr_client.verl.sample import sample_of


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    outcome: Outcome = None,
    **options: Any,
) -> dict[str, Any]:
    """A completion's score with weight * memory reward added, and its parts; for `reward.custom_reward_function`.

    verl calls it in as many threads as its executor has (at most 32 a process), so that a group's members need not be
    here at the same time: a run that does not exist is created with barrier="snapshot".

    The group is the prompt: `extra_info` has it as `raw_prompt` or `question`. An epoch's group of a prompt begins when
    the last epoch's is complete or has timed out. Rows whose `extra_info.split` is "test", "val" or the like leave the
    memory as it is.

    Args:
        data_source, solution_str, ground_truth, extra_info: verl's own.
        outcome: what judges the completion, see `Outcome`; verl's default for the data source where it is not given.
            The memory goes by its `acc`, where it returns a dict with one, else by its score.
        options: `Options` by name; others go to `outcome`, if it has parameters of that name.

    Raises:
        TypeError, ValueError: an option is unknown, or there is no prompt.
        MemrError: the service refused, or failed for too long. There is no made-up score.
    """
    memory, passed_on = _split(options)
    sample = sample_of(extra_info, solution_str)
    verdict = judge(outcome, _told(data_source, solution_str, ground_truth, extra_info), passed_on)
    return scores(verdict, memory.reward(sample, verdict.outcome), memory.weight)


async def compute_score_async(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    outcome: Outcome = None,
    **options: Any,
) -> dict[str, Any]:
    """`compute_score`, awaited: thousands may wait in one process, so that a new run has barrier="group".

    Where a group's completions end more than the run's `barrier_timeout_s` apart, choose barrier="snapshot".
    """
    memory, passed_on = _split(options)
    sample = sample_of(extra_info, solution_str)
    verdict = await judge_async(outcome, _told(data_source, solution_str, ground_truth, extra_info), passed_on)
    return scores(verdict, await memory.reward_async(sample, verdict.outcome), memory.weight)


def scores(verdict: Verdict, answer: RewardResponse, weight: float) -> dict[str, Any]:
    """What verl keeps of a sample. The keys are the same for all samples of a run, as verl demands.

    A raw value that is not defined is 0 with `*_defined` 0. verl's validation looks at `acc`, which memr leaves alone.
    """
    reward = answer.rewards[0]
    parts = {}
    for component, values in answer.components.items():
        raw = values.raw[0]
        parts[component] = 0.0 if raw is None else raw
        parts[f"{component}_defined"] = float(raw is not None)
        parts[f"{component}_scaled"] = values.scaled[0]
    return {
        **verdict.extra,
        "score": verdict.score + weight * reward,
        "outcome": verdict.outcome,
        "memory_reward": reward,
        **parts,
        "support_success": float(answer.support.success[0]),
        "support_failure": float(answer.support.failure[0]),
        "rejected": float(bool(answer.guards.rejected[0])),
    }


def _split(options: dict[str, Any]) -> tuple[Memory, dict[str, Any]]:
    """The memory that memr's options name, and the options that go to the outcome."""
    ours = {name: value for name, value in options.items() if name in NAMES}
    passed_on = {name: value for name, value in options.items() if name not in NAMES}
    return memory_for(read_options(ours)), passed_on


def _told(data_source: str, solution_str: str, ground_truth: Any, extra_info: Any) -> dict[str, Any]:
    return {
        "data_source": data_source,
        "solution_str": solution_str,
        "ground_truth": ground_truth,
        "extra_info": extra_info,
    }
