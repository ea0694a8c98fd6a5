"""Scores logged rollouts, request by request, and collects the statistics of their rewards."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from memr_client import RewardClient
from memr_client.errors import InvalidRequest
from memr_client.schemas import RewardResponse, RunConfig, halves_warning
from memr_client.schemas.zeros import counted

from memr_service.cli.options import listed_presets
from memr_service.cli.rollouts import Rollout, as_text
from memr_service.cli.summary import PresetLine, SummaryLine, spread, summarise
from memr_service.cli.vectors import Column, Vectors
from memr_service.encoder import Encoders
from memr_service.run.presets import PRESETS, resolve

Row = dict[str, str | int | float | None]
"""One rollout with its reward, as it is written to a file; see `rows`."""

MANY_ZEROS = 0.25
"""Share of rewards of 0 from which on their causes are listed."""
ONE_SIDED = 0.95
"""Share of right, or of wrong, outcomes above which a remark is made."""


@dataclass
class Score:
    """The rewards of the rollouts scored so far under one config. Columns have one entry per rollout, in file order."""

    config: RunConfig
    outcomes: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    groups: list[tuple[int, str]] = field(default_factory=list)
    columns: dict[str, list[float | None]] = field(default_factory=dict)
    """Quantity (`reward`, `exploit raw`, `exploit scaled`, ...) -> its values; None where a component has no value."""
    requests: int = 0
    explore_off: int = 0
    """Number of rollouts that were scored during explore's warm-up."""
    texts: int = 0
    """Number of texts encoded, counting each distinct text of a request once."""
    cut: int = 0
    """Number of those texts that were too long to be read whole."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Reason -> rollouts that a guard of any component rejected for it."""
    paid: dict[str, float] = field(default_factory=dict)
    """Component -> sum of weight * scaled value."""
    zeros: Counter[str] = field(default_factory=Counter)
    """Cause of rewards of 0 -> number of completions."""
    warnings: Counter[str] = field(default_factory=Counter)
    """Warning of the service -> number of requests that had it."""
    halves: list[str] = field(default_factory=list)
    """Texts in which half of a surrogate pair was read as U+FFFD."""

    def add(self, rollouts: list[Rollout], vectors: Vectors, response: RewardResponse) -> None:
        """Add one request's rollouts and their rewards."""
        self.requests += 1
        self.halves += [f"line {rollout.line}: {path}" for rollout in rollouts for path in rollout.halves]
        self.outcomes += [rollout.outcome for rollout in rollouts]
        self.right += [rollout.outcome > self.config.success_threshold for rollout in rollouts]
        self.groups += [(self.requests, rollout.group) for rollout in rollouts]
        self._extend("reward", response.rewards, response.rewards)
        for name, values in response.components.items():
            self._extend(f"{name} raw", values.raw, values.raw)
            self._extend(f"{name} scaled", values.scaled, values.raw)
            self.paid[name] = self.paid.get(name, 0.0) + self.config.weights[name] * sum(values.scaled)
        for reasons in response.guards.rejected:
            self.rejected.update({reason.partition(":")[2] for reason in reasons if not reason.startswith("memory:")})
        if response.warmup.get("explore"):
            self.explore_off += len(rollouts)
        texts, cut = vectors.count(self.config)
        self.texts += texts
        self.cut += cut
        self.zeros += counted(response.why_zero)
        self.warnings.update(response.warnings)

    def _extend(self, name: str, values: Iterable[float | None], raw: Iterable[float | None]) -> None:
        """Append values to a column. A scaled value without a raw one is a placeholder and becomes None."""
        column = self.columns.setdefault(name, [])
        column += [value if source is not None else None for value, source in zip(values, raw, strict=True)]

    def summary_lines(self) -> list[SummaryLine]:
        """The lines of the summary: the reward and each component."""
        return summarise(self.columns, self.right, self.groups)

    def preset_line(self, name: str) -> PresetLine:
        """The line of the comparison for the preset of this name."""
        (reward,) = summarise({name: self.columns["reward"]}, self.right, self.groups)
        total = sum(abs(paid) for paid in self.paid.values()) or 1.0
        return PresetLine(
            reward,
            spread(self.columns["reward"], self.groups),
            rejected={reason: count / len(self.right) for reason, count in self.rejected.most_common()},
            shares={component: abs(paid) / total for component, paid in self.paid.items()},
        )

    def outcome_line(self) -> PresetLine:
        """The line of the comparison for the outcomes themselves."""
        (outcome,) = summarise({"your outcomes": self.outcomes}, self.right, self.groups)
        return PresetLine(outcome, spread(self.outcomes, self.groups))

    def remarks(self) -> list[str]:
        """What a reader must know to interpret the summary, one or two sentences each."""
        remarks = [self._one_sided(), self._explore_off(), self._texts_cut(), self._zeros()]
        remarks += [f"In {n} of {self.requests} requests: {warning}" for warning, n in self.warnings.most_common()]
        return [remark for remark in (*remarks, *halves_warning(self.halves)) if remark]

    def _one_sided(self) -> str:
        share = sum(self.right) / max(1, len(self.right))
        larger, smaller, most = ("right", "failure", share) if share > 0.5 else ("wrong", "success", 1 - share)
        if most <= ONE_SIDED:
            return ""
        return (
            f"{most:.1%} of the outcomes are {larger} (right: above success_threshold "
            f"{self.config.success_threshold:g}), so the {smaller} memory stays nearly empty. Check that the threshold "
            "fits your outcomes."
        )

    def _explore_off(self) -> str:
        if not self.explore_off:
            return ""
        until = [f"{self.config.explore_warmup_steps} steps"] if self.config.explore_warmup_steps else []
        if self.config.explore_warmup_prompts:
            until.append(f"{self.config.explore_warmup_prompts} prompts with a failure")
        return (
            f"explore was off for the first {self.explore_off} of {len(self.right)} completions: it warms up until "
            f"{' and '.join(until)} are stored. Each step value counts as a step, and each request without one too. "
            'Put {"explore_warmup_steps": 0, "explore_warmup_prompts": 0} into a --config file to have it on from the '
            "start."
        )

    def _zeros(self) -> str:
        zero = self.columns.get("reward", []).count(0)
        if zero < MANY_ZEROS * len(self.right) or not self.zeros:
            return ""
        causes = "".join(f"\n  {count} x {cause}" for cause, count in self.zeros.most_common())
        return f"{zero} of {len(self.right)} rewards are 0, because:{causes}"

    def _texts_cut(self) -> str:
        if not self.cut:
            return ""
        ends = self.config.long_text != "auto"
        limit, part = ("the encoder reads", "ends") if ends else ("two of the encoder's windows", "middles")
        return (
            f"{self.cut} of {self.texts} texts ({self.cut / self.texts:.1%}) are longer than {limit}: their "
            f'{part} do not affect the rewards. Put {{"long_text": "windows"}} into a --config file to read them whole.'
        )


def presets(base: RunConfig, asked: str | None, encoder: str) -> tuple[dict[str, RunConfig], list[str]]:
    """The configs to compare, by preset, and remarks about presets that do not fit.

    Args:
        base: fields that all configs share.
        asked: preset names, separated by commas, or "all": all that fit. None: all that fit, or none if `base` names a
            preset.
        encoder: the default encoder.

    Raises:
        InvalidRequest: a preset in `asked` does not exist or does not fit.
    """
    if asked is None and "preset" in base.model_fields_set:
        return {}, []
    names = list(PRESETS) if asked in (None, "all") else listed_presets(asked)
    fitting: dict[str, RunConfig] = {}
    remarks = []
    for name in names:
        config = base.model_copy(update={"preset": name})
        try:
            resolve(config, name, encoder)
        except InvalidRequest as error:
            if asked not in (None, "all"):
                raise
            remarks.append(f"{name} does not fit these settings: {error.detail}")
        else:
            fitting[name] = config
    return fitting, remarks


def score(
    client: RewardClient,
    encoders: Encoders,
    run_ids: Sequence[str],
    requests: Iterable[list[Rollout]],
    write: Callable[[list[Row]], None],
    advance: Callable[[int], None],
) -> list[Score]:
    """Send the requests in order to every run. Each text is encoded once for all runs, but turns by each run.

    Args:
        client: client of the service.
        encoders: encoders of the runs.
        run_ids: existing, empty runs.
        requests: the rollouts of each request, see `rollouts.requests`.
        write: called with the rows of each request, scored by the first run.
        advance: called with the number of rollouts of each request.
    """
    scores = [Score(client.run(run_id).config) for run_id in run_ids]
    for rollouts in requests:
        vectors = Vectors(encoders, rollouts)
        for run_id, done in zip(run_ids, scores, strict=True):
            response = _request(client, run_id, rollouts, vectors.embeddings(done.config))
            done.add(rollouts, vectors, response)
            if done is scores[0]:
                write(list(rows(rollouts, response)))
        advance(len(rollouts))
    return scores


def rows(rollouts: list[Rollout], response: RewardResponse) -> Iterator[Row]:
    """One row per rollout: the fields of its line, the reward, its components, and the support in both memories."""
    for i, rollout in enumerate(rollouts):
        row: Row = {
            "line": rollout.line,
            "prompt": as_text(rollout.prompt),
            "completion": as_text(rollout.completion),
            "outcome": rollout.outcome,
            "step": rollout.step,
            "prompt_id": rollout.prompt_id,
            "group_id": rollout.group_id,
            "reward": response.rewards[i],
        }
        for name, values in response.components.items():
            row[f"{name}_raw"] = values.raw[i]
            row[f"{name}_scaled"] = values.scaled[i]
        row["support_success"] = response.support.success[i]
        row["support_failure"] = response.support.failure[i]
        yield row


def _request(
    client: RewardClient, run_id: str, rollouts: list[Rollout], embeddings: dict[Column, np.ndarray] | None
) -> RewardResponse:
    named = any(rollout.prompt_id is not None for rollout in rollouts)
    grouped = any(rollout.group_id is not None for rollout in rollouts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the remarks of a `Score` say it for all rollouts
        return client.reward(
            [rollout.prompt for rollout in rollouts],
            [rollout.completion for rollout in rollouts],
            [rollout.outcome for rollout in rollouts],
            run_id=run_id,
            step=rollouts[0].step,
            prompt_ids=[rollout.identity for rollout in rollouts] if named else None,
            group_ids=[rollout.group for rollout in rollouts] if grouped else None,
            embeddings=embeddings,
        )
