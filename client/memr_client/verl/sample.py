"""`Sample`: one completion of verl, turned into the columns of a reward request."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from memr_client.plain import is_missing, plain_text
from memr_client.schemas import Message, phase_of, unknown_split


@dataclass(frozen=True)
class Sample:
    """One completion."""

    prompt: str | list[dict[str, Any]]
    completion: str
    evaluation: bool
    step: int | None
    group: str | None = None
    """verl's `uid`, equal for completions that were sampled together. None: the prompt is the group."""
    index: int | None = None
    """verl's `session_id`: the completion's position in its group."""
    truncated: bool | None = None
    """Whether it was cut at verl's length limit; None: unknown."""
    reference: str | None = None
    """verl's `ground_truth`; None if it is no text or number."""

    def columns(self, outcome: float) -> dict[str, Any]:
        """Arguments of `RewardClient.reward`, for training with the request id of all tries."""
        columns: dict[str, Any] = {
            "prompts": [self.prompt],
            "completions": [self.completion],
            "outcomes": [outcome],
            "truncated": None if self.truncated is None else [self.truncated],
            **({} if self.reference is None else {"references": [self.reference]}),
        }
        if self.evaluation:
            return {**columns, "mode": "eval"}
        group = None if self.group is None else [self.group]
        index = None if self.index is None else [self.index]
        return {**columns, "step": self.step, "group_ids": group, "index": index, "request_id": self._request_id()}

    def _request_id(self) -> str:
        if self.group is None or self.index is None:
            return uuid4().hex  # equal siblings can be told apart only by the call
        # With the completion, because a resumed trainer samples unfinished groups again under their old uid.
        identity = json.dumps([self.group, self.index, self.step, self.completion])
        return hashlib.sha256(identity.encode()).hexdigest()


def sample_of(extra_info: Mapping[str, Any] | None, completion: str, ground_truth: Any = None) -> Sample:
    """The sample from the arguments of a reward function.

    Raises:
        ValueError: `extra_info` has no prompt.
    """
    known = extra_info or {}
    if (raw := known.get("raw_prompt")) is not None:
        prompt = chat(raw)
    elif isinstance(question := known.get("question"), str):
        prompt = question
    else:
        raise ValueError(
            "verl passes no prompt to a reward function, and extra_info has neither 'raw_prompt' nor 'question': add "
            "'question' to the data set's extra_info, or use memr_client.verl.manager"
        )
    return Sample(
        *(prompt, completion, is_evaluation(known), step_of(known.get("global_steps"))),
        reference=reference_of(ground_truth),
    )


def reference_of(ground_truth: Any) -> str | None:
    """verl's `ground_truth` as a reference; None if it is no text or number, but tests or a list, for example."""
    value = ground_truth.item() if getattr(ground_truth, "ndim", None) == 0 else ground_truth
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, int | float) and not isinstance(value, bool) and not is_missing(value):
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return None


def is_evaluation(extra_info: Mapping[str, Any]) -> bool:
    """Whether `extra_info.split` says evaluation. verl gives no other sign of it.

    Without a split, samples are training, with a warning. A split whose name says neither is not remembered, with a
    warning.
    """
    split = extra_info.get("split")
    if is_missing(split) or not str(split).strip():
        warnings.warn(
            "memr: extra_info has no 'split', so evaluation cannot be told from training and is remembered too. "
            "Add a split ('train', 'test') to the data sets' extra_info.",
            stacklevel=2,
        )
        return False
    phase = phase_of(split)
    if phase is None:
        warnings.warn(f"memr: {unknown_split(split)}", stacklevel=2)
    return phase != "train"


def step_of(global_steps: Any) -> int | None:
    """The step; None if verl gives none (None or a negative number)."""
    return None if global_steps is None or global_steps < 0 else int(global_steps)


def chat(raw_prompt: Iterable[Any] | str) -> str | list[dict[str, Any]]:
    """verl's prompt as chat messages. Images and audio are dropped: prompts with equal texts are one prompt."""
    messages = plain_text(raw_prompt, "raw_prompt")
    if isinstance(messages, str):
        return messages
    read = [Message.model_validate(message) for message in messages]
    return [{"role": message.role, "content": message.text} for message in read]
