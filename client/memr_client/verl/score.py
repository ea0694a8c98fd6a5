"""`compute_score`: the memory's reward as a reward function of verl, called for one completion at a time."""

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
    """A completion's score plus weight * memory reward, and the parts, for `reward.custom_reward_function`.

    verl calls it in the threads of its executor (at most 32 per process), so the members of a group may not all be
    there at the same time. A run that does not exist is therefore created with barrier="snapshot".

    The group is the prompt, which `extra_info` holds as `raw_prompt` or `question`. A prompt's next group begins when
    its last one is complete or has timed out. Rows whose `extra_info.split` is "test", "val" or similar do not change
    the memory.

    Args:
        data_source, solution_str, ground_truth, extra_info: verl's arguments.
        outcome: reward function that judges the completion, see `Outcome`. Default: verl's for the data source. If it
            returns a dict with `acc`, the memory stores completions by that, otherwise by the score.
        options: fields of `Options`. Others are passed to `outcome` if it has parameters of these names.

    Raises:
        TypeError, ValueError: an option is unknown, or there is no prompt.
        MemrError: the service refused the request or failed for too long.
    """
    memory, passed_on = _split(options)
    sample = sample_of(extra_info, solution_str, ground_truth)
    verdict = judge(outcome, _arguments(data_source, solution_str, ground_truth, extra_info), passed_on)
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
    """Like `compute_score`, for asyncio. Thousands of calls can wait in one process, so a new run has barrier="group".

    If the completions of a group may end more than the run's `barrier_timeout_s` apart, choose barrier="snapshot".
    """
    memory, passed_on = _split(options)
    sample = sample_of(extra_info, solution_str, ground_truth)
    verdict = await judge_async(outcome, _arguments(data_source, solution_str, ground_truth, extra_info), passed_on)
    return scores(verdict, await memory.reward_async(sample, verdict.outcome), memory.weight)


def scores(verdict: Verdict, response: RewardResponse, weight: float) -> dict[str, Any]:
    """A sample's score and its parts. The keys are the same for all samples of a run, as verl requires.

    A raw value that does not exist is 0, with `*_defined` 0. `acc`, which verl's validation reads, is unchanged. Where
    the run repairs, the outcome that counts takes the place of `acc` in the score.
    """
    reward, outcome = response.rewards[0], verdict.outcome
    parts = {}
    if response.outcomes_used is not None and response.repaired is not None:
        outcome = response.outcomes_used[0]
        parts["repaired"] = float(response.repaired[0] is not None)
    for component, values in response.components.items():
        raw = values.raw[0]
        parts[component] = 0.0 if raw is None else raw
        parts[f"{component}_defined"] = float(raw is not None)
        parts[f"{component}_scaled"] = values.scaled[0]
    return {
        **verdict.extra,
        "score": verdict.score + (outcome - verdict.outcome) + weight * reward,
        "outcome": outcome,
        "memory_reward": reward,
        **parts,
        "support_success": float(response.support.success[0]),
        "support_failure": float(response.support.failure[0]),
        "rejected": float(bool(response.guards.rejected[0])),
    }


def _split(options: dict[str, Any]) -> tuple[Memory, dict[str, Any]]:
    """The memory that memr's options describe, and the options for the outcome."""
    ours = {name: value for name, value in options.items() if name in NAMES}
    passed_on = {name: value for name, value in options.items() if name not in NAMES}
    return memory_for(read_options(ours)), passed_on


def _arguments(data_source: str, solution_str: str, ground_truth: Any, extra_info: Any) -> dict[str, Any]:
    return {
        "data_source": data_source,
        "solution_str": solution_str,
        "ground_truth": ground_truth,
        "extra_info": extra_info,
    }
