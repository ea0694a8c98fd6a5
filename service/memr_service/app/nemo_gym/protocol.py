"""Translation between NeMo Gym's protocol and reward requests.

NeMo Gym sends a task's row of its data set (`responses_create_params` and fields of its own) with the `response` to it.
It trains on `reward`, or on `reward_components`, and writes the whole answer into its file of rollouts.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import orjson
from memr_client.errors import InvalidRequest, UnknownRun
from memr_client.schemas import (
    Message,
    NeMoGymVerify,
    RewardRequest,
    RunConfig,
    chat_of,
    last_words,
    phase_of,
    unknown_split,
)

from memr_service.app.judging import Outcomes, answer_of, counting, parts, sums
from memr_service.run.response import Response

logger = logging.getLogger(__name__)

ANSWER = "expected_answer"
CREATE = 'PUT /runs/{run} {{"verifier": "numeric", "barrier": "group", "group_size": G}}'


@dataclass(frozen=True)
class Sample:
    """One rollout."""

    given: dict[str, Any]
    """The body's fields."""
    prompt: list[Message]
    completion: list[Message]
    said: str
    """What the verifier judges: the assistant's last words."""
    answer: str
    """The right answer."""
    mode: Literal["train", "eval"]
    group_id: str | None
    index: int | None
    request_id: str | None
    """The same for a rollout that is sent again. None if nothing tells it from another one with equal texts."""

    def request(
        self, run_id: str, outcomes: list[float], equal_spread: float | None, *, with_reference: bool
    ) -> RewardRequest:
        """The rollout as a reward request."""
        return RewardRequest(
            run_id=run_id,
            prompts=[self.prompt],
            completions=[self.completion],
            outcomes=outcomes,
            references=[self.answer] if with_reference else None,
            group_ids=None if self.group_id is None else [self.group_id],
            index=None if self.index is None else [self.index],
            mode=self.mode,
            equal_spread=equal_spread,
            request_id=self.request_id,
        )


def check(config: RunConfig) -> None:
    """Refuse a run that cannot judge, or whose barrier waits for what NeMo Gym does not send.

    Raises:
        InvalidRequest: it is one.
    """
    if config.verifier is None:
        raise InvalidRequest(
            "The run has no verifier, so it is unknown which completions are right.",
            limit=["exact", "numeric", "math"],
            remedy='Set {"verifier": "numeric"} with PUT /runs/NAME (client.create_run(NAME, verifier="numeric")). '
            "That takes effect while the run has no records; afterwards use a run with another name.",
        )
    if config.barrier == "step":
        raise InvalidRequest(
            "A run with barrier 'step' waits for the parts of a step, but NeMo Gym sends neither step nor part.",
            value="step",
            limit=["group", "snapshot", "none"],
            remedy='Create a run with {"barrier": "group", "group_size": G}; G is the number of rollouts per prompt.',
        )


def read(body: NeMoGymVerify, config: RunConfig) -> Sample:
    """A request's rollout.

    Raises:
        InvalidRequest: the run cannot judge it, or it has no right answer.
    """
    check(config)
    asked, response = body.responses_create_params, body.response
    completion = chat_of(response.output)
    given = body.model_dump(by_alias=True, exclude_unset=True)
    told_apart = bool(response.id) or body.rollout_index is not None
    return Sample(
        given=given,
        prompt=chat_of(asked.input, asked.instructions),
        completion=completion,
        said=last_words(completion),
        answer=_answer(body),
        mode=_mode(body),
        group_id=None if body.group_id is None else f"{body.group_id}/{body.group_attempt}",
        index=body.rollout_index,
        request_id=hashlib.sha256(orjson.dumps(given, option=orjson.OPT_SORT_KEYS)).hexdigest() if told_apart else None,
    )


def verified(sample: Sample, judged: Outcomes, rewarded: Response, config: RunConfig, late: str | None) -> bytes:
    """The response's JSON.

    Args:
        judged: the rollout's outcome.
        rewarded: the response to `Sample.request`.
        late: the warning that the verifier did not judge it in time, if so.
    """
    fields = rewarded.fields
    (outcome,), (memory,) = counting(judged.outcomes, rewarded), fields["rewards"]
    (reward,) = sums([outcome], config.memory_weight, [memory])
    (weighted,) = sums([0.0], config.memory_weight, [memory])
    flat = {"outcome": outcome, "memory_reward": memory, "unjudged": float(late is not None)}
    flat |= {name: value for name, (value,) in parts(rewarded, config).items()}
    answer = {
        **sample.given,
        **{f"memr_{name}": float(value) for name, value in flat.items()},
        "reward": reward,
        "reward_components": {"outcome": outcome, "memory": weighted},
        "mask_sample": late is not None,
        "failure_kind": None if late is None else "verifier_error",
        "failure_reason": late,
    }
    return orjson.dumps(answer)


def unknown_run(run_id: str) -> UnknownRun:
    """The error of a run that does not exist. NeMo Gym's requests create none: they name no verifier."""
    return UnknownRun(
        f"There is no run {run_id!r}, and NeMo Gym's requests create none.",
        value=run_id,
        remedy=f"Create it before training: {CREATE.format(run=run_id)}; G is the number of rollouts per prompt.",
    )


def _answer(body: NeMoGymVerify) -> str:
    """The right answer, from the task's row."""
    held = (body.verifier_metadata or {}).get(ANSWER)
    name = ANSWER if body.expected_answer is not None or held is None else f"verifier_metadata.{ANSWER}"
    label = body.expected_answer if body.expected_answer is not None else held
    return answer_of(label, name, f"Add {ANSWER!r} to the rows of the data set.")


def _mode(body: NeMoGymVerify) -> Literal["train", "eval"]:
    """Whether a task is for training or evaluation; one without a split is for training."""
    split = body.split or (body.verifier_metadata or {}).get("split")
    if split is None or split == "":
        return "train"
    if (phase := phase_of(split)) is None:
        _warn_of(str(split)[:80])
    return phase or "eval"


@lru_cache(maxsize=256)
def _warn_of(split: str) -> None:
    """Log a warning about a split, once."""
    logger.warning("%s", unknown_split(split))
