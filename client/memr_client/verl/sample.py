"""`Sample`: one completion as verl hands it over, and as it crosses the wire."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

EVALUATION = frozenset({"test", "val", "valid", "validation", "eval", "evaluation", "dev"})
"""What `extra_info.split` says of rows that are not trained on."""


@dataclass(frozen=True)
class Sample:
    """One completion."""

    prompt: str | list[dict[str, Any]]
    completion: str
    evaluation: bool
    step: int | None
    group: str | None = None
    """verl's `uid`: the completions sampled together. Where verl does not say, the prompt is the group."""
    place: int | None = None
    """verl's `session_id`: the completion's place in its group."""

    def columns(self, outcome: float) -> dict[str, Any]:
        """The arguments of `RewardClient.reward`; a training sample's hold the id that all tries carry."""
        columns = {"prompts": [self.prompt], "completions": [self.completion], "outcomes": [outcome]}
        if self.evaluation:
            return {**columns, "mode": "eval"}
        group = None if self.group is None else [self.group]
        place = None if self.place is None else [self.place]
        return {**columns, "step": self.step, "group_ids": group, "index": place, "request_id": self._request_id()}

    def _request_id(self) -> str:
        if self.group is None or self.place is None:
            return uuid4().hex  # siblings may be equal: nothing but the call tells them apart
        # The completion is part of it, because a resumed trainer samples unfinished groups again under their old uid.
        seat = json.dumps([self.group, self.place, self.step, self.completion])
        return hashlib.sha256(seat.encode()).hexdigest()


def sample_of(extra_info: Mapping[str, Any] | None, completion: str) -> Sample:
    """The sample as a reward function is told of it.

    Raises:
        ValueError: nothing says what the prompt was.
    """
    known = extra_info or {}
    if (raw := known.get("raw_prompt")) is not None:
        prompt = chat(raw)
    elif isinstance(question := known.get("question"), str):
        prompt = question
    else:
        raise ValueError(
            "verl tells a reward function no prompt, and extra_info has neither 'raw_prompt' nor 'question': add "
            "'question' to the data set's extra_info, or take memr_client.verl.manager"
        )
    return Sample(prompt, completion, is_evaluation(known), step_of(known.get("global_steps")))


def is_evaluation(extra_info: Mapping[str, Any]) -> bool:
    """Whether `extra_info.split` names rows that are not trained on: verl says it in no other way."""
    split = extra_info.get("split")
    if split is None:
        warnings.warn(
            "memr: extra_info has no 'split', so that evaluation cannot be told from training and is remembered like "
            "it. Add a split ('train', 'test') to the data sets' extra_info.",
            stacklevel=2,
        )
    return str(split).lower() in EVALUATION


def step_of(said: Any) -> int | None:
    """A step, where verl names one."""
    return None if said is None or said < 0 else int(said)


def chat(raw_prompt: Iterable[Mapping[str, Any]] | str) -> str | list[dict[str, Any]]:
    """verl's prompt as messages. Images and sounds are left out: prompts that differ in nothing else are one prompt."""
    if isinstance(raw_prompt, str):
        return raw_prompt
    return [{"role": message["role"], "content": _text(message.get("content"))} for message in raw_prompt]


def _text(content: Any) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "".join(part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str))
