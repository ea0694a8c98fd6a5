"""Translation between OpenRLHF's protocol and reward requests.

OpenRLHF sends `query` (a prompt with its completion), `prompts` (rendered by the chat template) and `labels` (from the
data set). It trains on `rewards`, filters groups by `scores`, and averages `extra_logs`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from memr_client.errors import InvalidRequest, UnknownRun
from memr_client.schemas import OpenRLHFRequest, OpenRLHFResponse, RewardRequest, RunConfig, phase_of, unknown_split

from memr_service.app.openrlhf.labels import answer_of
from memr_service.app.openrlhf.texts import completion_of, question_of
from memr_service.app.openrlhf.verifier_pool import Outcomes
from memr_service.engine.text_thread import Steps
from memr_service.run.response import Response

Mode = Literal["train", "eval"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Samples:
    """The n samples of a request."""

    prompts: list[str]
    completions: list[str]
    answers: list[str]
    """Right answers from the labels, for the verifier; empty if outcomes were sent."""
    references: list[str | None]
    """Right answers from the labels, as far as they can be read (n)."""
    mode: Mode
    logs: dict[str, list[float]]
    """Name -> whether each sample's prompt was cut, was not found, or did not match the pattern (n, 0 or 1)."""

    def request(
        self,
        run_id: str,
        outcomes: list[float],
        request_id: str | None,
        equal_spread: float | None,
        *,
        with_references: bool = False,
    ) -> RewardRequest:
        """The samples as a reward request."""
        return RewardRequest(
            run_id=run_id,
            prompts=list(self.prompts),
            completions=list(self.completions),
            outcomes=outcomes,
            references=self.references if with_references else None,
            mode=self.mode,
            equal_spread=equal_spread,
            request_id=request_id,
        )


def read(body: OpenRLHFRequest, config: RunConfig, mode: Mode) -> Steps[Samples]:
    """The samples of a request, read one by one.

    Args:
        mode: "eval" marks all samples as evaluation; with "train", the labels decide.

    Raises:
        InvalidRequest: outcomes cannot be computed, the run's barrier does not fit, or training and evaluation are
            mixed.
    """
    if body.query:
        _check(body, config)
    answers = [] if body.outcomes is not None else [answer_of(label, item) for item, label in enumerate(body.labels)]
    cut = []
    questions: dict[str, tuple[str, bool]] = {}
    for query, prompt in zip(body.query, body.prompts, strict=True):
        cut.append(completion_of(query, prompt))
        if prompt not in questions:
            questions[prompt] = question_of(prompt, config.prompt_pattern)
        yield
    return Samples(
        prompts=[questions[prompt][0] for prompt in body.prompts],
        completions=[completion for completion, _ in cut],
        answers=answers,
        references=[*answers] if body.outcomes is None else [_reference(label) for label in body.labels],
        mode="eval" if mode == "eval" else _mode(body.labels),
        logs={
            "prompt_cut": [float(found == "cut") for _, found in cut],
            "prompt_lost": [float(found == "lost") for _, found in cut],
            "pattern_unmatched": [float(not questions[prompt][1]) for prompt in body.prompts],
            "split_unknown": [float(_is_unknown(label)) for label in body.labels],
        },
    )


def response(samples: Samples, judged: Outcomes, rewarded: Response, config: RunConfig) -> OpenRLHFResponse:
    """The response to n samples: every field is a list (n), and the logs have the same names in every response.

    Where the run repairs, rewards and scores have the outcomes that count.

    Args:
        judged: each sample's outcome (n).
        rewarded: the response to `Samples.request`.
    """
    fields = rewarded.fields
    outcomes, memory = _numbers(fields.get("outcomes_used", judged.outcomes)), _numbers(fields["rewards"])
    logs = {"outcome": outcomes, "unjudged": _numbers(judged.unjudged), "memory_reward": memory}
    for name in config.weights:
        values = fields["components"][name]
        raw = np.array(values["raw"], np.float64)  # a null of a stored response becomes NaN
        logs[name] = _numbers(np.where(np.isnan(raw), 0.0, raw) + 0.0)  # `+ 0.0` makes -0.0 into 0.0
        logs[f"{name}_scaled"] = _numbers(values["scaled"])
        logs[f"{name}_defined"] = _numbers(~np.isnan(raw))
    logs |= {f"support_{side}": _numbers(counts) for side, counts in fields["support"].items()}
    if "repaired" in fields:
        logs["repaired"] = _numbers([why is not None for why in fields["repaired"]])
    logs["rejected"] = _numbers([bool(reasons) for reasons in fields["guards"]["rejected"]])
    return OpenRLHFResponse(
        rewards=_sums(outcomes, config.memory_weight, memory),
        scores=[*outcomes],
        # All of one type: what OpenRLHF does with logs of other types is not documented.
        extra_logs={**logs, **samples.logs},
        warnings=fields["warnings"],
    )


def unknown_run(run_id: str) -> UnknownRun:
    """The error of a run that does not exist. OpenRLHF's requests create none: they name no verifier."""
    fields = '{"verifier": "numeric", "barrier": "group", "group_size": G}'
    return UnknownRun(
        f"There is no run {run_id!r}, and OpenRLHF's requests create none.",
        value=run_id,
        remedy=f"Create it before training: PUT /runs/{run_id} {fields}, or client.create_run({run_id!r}, "
        'verifier="numeric", barrier="group", group_size=G); G is --rollout.n_samples_per_prompt.',
    )


def _numbers(column: Sequence[float] | np.ndarray) -> list[float]:
    numbers: list[float] = np.asarray(column, np.float64).tolist()
    return numbers


@np.errstate(over="ignore")
def _sums(outcomes: Sequence[float], weight: float, memory: Sequence[float]) -> list[float]:
    """outcome + weight * reward (n), at most the largest float64."""
    sums: list[float] = np.nan_to_num(np.asarray(outcomes, np.float64) + weight * np.asarray(memory)).tolist()
    return sums


def _check(body: OpenRLHFRequest, config: RunConfig) -> None:
    if body.outcomes is None and config.verifier is None:
        raise InvalidRequest(
            "The run has no verifier and the request no outcomes, so it is unknown which completions are right.",
            limit=["exact", "numeric", "math"],
            remedy='Set {"verifier": "numeric"} with PUT /runs/NAME (client.create_run(NAME, verifier="numeric")). '
            "That takes effect while the run has no records; afterwards use a run with another name, or send outcomes.",
        )
    if config.barrier == "step":
        raise InvalidRequest(
            "A run with barrier 'step' waits for the parts of a step, but OpenRLHF sends neither step nor part.",
            value="step",
            limit=["group", "snapshot", "none"],
            remedy='Create a run with {"barrier": "group", "group_size": G} (PUT /runs/NAME, or '
            'client.create_run(NAME, barrier="group", group_size=G)); G is --rollout.n_samples_per_prompt.',
        )


def _mode(labels: Sequence[Any]) -> Mode:
    """Whether the labels mark training or evaluation; labels without a split are training."""
    phases = [phase_of(_split(label)) for label in labels]
    evaluations = sum(phase != "train" for phase in phases)
    if 0 < evaluations < len(phases):
        raise InvalidRequest(
            "The request mixes samples of training and of evaluation.",
            value=f"{evaluations} of {len(phases)} are evaluation",
            limit="all or none",
            remedy="Send them in two requests.",
        )
    return "eval" if evaluations == len(phases) else "train"  # n = 0 is "eval": there is nothing to remember


def _reference(label: Any) -> str | None:
    """A label's answer; None if it has none that a verifier could compare with."""
    try:
        return answer_of(label, 0)
    except InvalidRequest:
        return None


def _split(label: Any) -> str:
    split = label.get("split") if isinstance(label, dict) else None
    return "train" if split is None or split == "" else str(split)[:80]


def _is_unknown(label: Any) -> bool:
    if unknown := phase_of(split := _split(label)) is None:
        _warn_of(split)
    return unknown


@lru_cache(maxsize=256)
def _warn_of(split: str) -> None:
    """Log a warning about a split, once."""
    logger.warning("%s", unknown_split(split))
