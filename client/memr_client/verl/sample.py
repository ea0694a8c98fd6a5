"""`Sample`: one completion of verl, turned into the columns of a reward request."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

EVALUATION = frozenset({"test", "val", "valid", "validation", "eval", "evaluation", "dev"})
"""Values of `extra_info.split` that mark evaluation."""


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

    def columns(self, outcome: float) -> dict[str, Any]:
        """Arguments of `RewardClient.reward`, for training with the request id of all tries."""
        columns = {"prompts": [self.prompt], "completions": [self.completion], "outcomes": [outcome]}
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


def sample_of(extra_info: Mapping[str, Any] | None, completion: str) -> Sample:
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
    return Sample(prompt, completion, is_evaluation(known), step_of(known.get("global_steps")))


def is_evaluation(extra_info: Mapping[str, Any]) -> bool:
    """Whether `extra_info.split` marks evaluation. verl gives no other sign of it."""
    split = extra_info.get("split")
    if split is None:
        warnings.warn(
            "memr: extra_info has no 'split', so evaluation cannot be told from training and is remembered too. "
            "Add a split ('train', 'test') to the data sets' extra_info.",
            stacklevel=2,
        )
    return str(split).lower() in EVALUATION


def step_of(global_steps: Any) -> int | None:
    """The step; None if verl gives none (None or a negative number)."""
    return None if global_steps is None or global_steps < 0 else int(global_steps)


def chat(raw_prompt: Iterable[Mapping[str, Any]] | str) -> str | list[dict[str, Any]]:
    """verl's prompt as chat messages. Images and audio are dropped: prompts with equal texts are one prompt."""
    if isinstance(raw_prompt, str):
        return raw_prompt
    return [{"role": message["role"], "content": _text(message.get("content"))} for message in raw_prompt]


def _text(content: Any) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "".join(part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str))
