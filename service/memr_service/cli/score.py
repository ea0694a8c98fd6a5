"""Rewards for logged rollouts, request by request, and what they add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from memr_client import RewardClient
from memr_client.errors import InvalidRequest
from memr_client.schemas import RewardResponse, RunConfig

from memr_service.cli.rollouts import Rollout, as_text
from memr_service.cli.summary import Quantity, Verdict, spread, summarise
from memr_service.cli.vectors import Column, Vectors
from memr_service.encoder import Encoders
from memr_service.run.presets import PRESETS, resolve

Row = dict[str, str | int | float | None]
"""One rollout with its reward, as written out: see `rows`."""

ONE_SIDED = 0.95
"""More than this share of the outcomes on one side is worth a remark."""


@dataclass
class Score:
    """What is known of the rollouts scored so far. Columns have one entry per rollout, in file order."""

    config: RunConfig
    outcomes: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    groups: list[tuple[int, str]] = field(default_factory=list)
    columns: dict[str, list[float | None]] = field(default_factory=dict)
    """Quantity (`reward`, `exploit raw`, `exploit scaled`, ...) -> its values; null where a component had none."""
    requests: int = 0
    explore_off: int = 0
    """Rollouts that were scored before explore's warm-up was over."""
    texts: int = 0
    """Texts encoded: of each request the distinct ones."""
    cut: int = 0
    """Of those, the ones longer than what is read of a text."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Reason -> rollouts that a guard rejected for it, whatever the component."""
    paid: dict[str, float] = field(default_factory=dict)
    """Component -> sum of what it paid, weight times scaled value."""
    warnings: Counter[str] = field(default_factory=Counter)
    """What the service warned about -> in how many requests."""

    def add(self, rollouts: list[Rollout], vectors: Vectors, answer: RewardResponse) -> None:
        """Take one request's answer into account."""
        self.requests += 1
        self.outcomes += [rollout.outcome for rollout in rollouts]
        self.right += [rollout.outcome > self.config.success_threshold for rollout in rollouts]
        self.groups += [(self.requests, rollout.group) for rollout in rollouts]
        self._extend("reward", answer.rewards, answer.rewards)
        for name, values in answer.components.items():
            self._extend(f"{name} raw", values.raw, values.raw)
            self._extend(f"{name} scaled", values.scaled, values.raw)
            self.paid[name] = self.paid.get(name, 0.0) + self.config.weights[name] * sum(values.scaled)
        for reasons in answer.guards.rejected:
            self.rejected.update({reason.partition(":")[2] for reason in reasons if not reason.startswith("memory:")})
        if answer.warmup.get("explore"):
            self.explore_off += len(rollouts)
        texts, cut = vectors.count(self.config)
        self.texts += texts
        self.cut += cut
        self.warnings.update(answer.warnings)

    def _extend(self, name: str, values: Iterable[float | None], raw: Iterable[float | None]) -> None:
        """A scaled value without a raw one behind it is a placeholder: it says nothing about the component."""
        column = self.columns.setdefault(name, [])
        column += [value if source is not None else None for value, source in zip(values, raw, strict=True)]

    def quantities(self) -> list[Quantity]:
        """The summary's lines."""
        return summarise(self.columns, self.right, self.groups)

    def verdict(self, name: str) -> Verdict:
        """The comparison's line, for a preset of that name."""
        (reward,) = summarise({name: self.columns["reward"]}, self.right, self.groups)
        every = sum(abs(paid) for paid in self.paid.values()) or 1.0
        return Verdict(
            reward,
            spread(self.columns["reward"], self.groups),
            rejected={reason: count / len(self.right) for reason, count in self.rejected.most_common()},
            shares={component: abs(paid) / every for component, paid in self.paid.items()},
        )

    def verifier(self) -> Verdict:
        """The comparison's line for the outcomes themselves."""
        (outcome,) = summarise({"your outcomes": self.outcomes}, self.right, self.groups)
        return Verdict(outcome, spread(self.outcomes, self.groups))

    def remarks(self) -> list[str]:
        """What a reader should know before trusting the summary, one or two sentences each."""
        said = [self._one_sided(), self._off(), self._truncated()]
        said += [f"In {times} of {self.requests} requests: {warning}" for warning, times in self.warnings.most_common()]
        return [remark for remark in said if remark]

    def _one_sided(self) -> str:
        share = sum(self.right) / max(1, len(self.right))
        larger, smaller, most = ("right", "failure", share) if share > 0.5 else ("wrong", "success", 1 - share)
        if most <= ONE_SIDED:
            return ""
        return (
            f"{most:.1%} of the outcomes are {larger} (right is above success_threshold "
            f"{self.config.success_threshold:g}), so the {smaller} memory stays nearly empty. Does the threshold suit "
            "these outcomes?"
        )

    def _off(self) -> str:
        if not self.explore_off:
            return ""
        until = [f"{self.config.explore_warmup_steps} steps"] if self.config.explore_warmup_steps else []
        if self.config.explore_warmup_prompts:
            until.append(f"{self.config.explore_warmup_prompts} prompts with a failure")
        return (
            f"explore was off for the first {self.explore_off} of {len(self.right)} completions: it warms up until "
            f"{' and '.join(until)} are stored (each step value is a step, and so is each request without one). "
            'To have it from the start: {"explore_warmup_steps": 0, "explore_warmup_prompts": 0} in a --config file.'
        )

    def _truncated(self) -> str:
        if not self.cut:
            return ""
        ends = self.config.long_text != "auto"
        longer, part = ("the encoder reads", "ends") if ends else ("two of the encoder's windows", "middles")
        return (
            f"{self.cut} of {self.texts} texts ({self.cut / self.texts:.1%}) are longer than {longer}: their "
            f'{part} play no part in the rewards. {{"long_text": "windows"}} in a --config file reads them whole.'
        )


def presets(base: RunConfig, asked: str | None, encoder: str) -> tuple[dict[str, RunConfig], list[str]]:
    """The configs to set side by side, by preset, and what to say of those that do not fit.

    Args:
        base: the fields that all of them share.
        asked: names with commas between; None: all that fit, unless the base names one itself.
        encoder: the default one.

    Raises:
        InvalidRequest: one that was asked for does not exist, or does not fit.
    """
    if asked is None and "preset" in base.model_fields_set:
        return {}, []
    names = list(PRESETS) if asked is None else [name.strip() for name in asked.split(",") if name.strip()]
    fitting: dict[str, RunConfig] = {}
    said = []
    for name in names:
        if name not in PRESETS:
            raise InvalidRequest(f"There is no preset {name!r}.", value=name, limit=list(PRESETS))
        config = base.model_copy(update={"preset": name})
        try:
            resolve(config, name, encoder)
        except InvalidRequest as error:
            if asked is not None:
                raise
            said.append(f"{name} does not fit these settings: {error.detail}")
        else:
            fitting[name] = config
    return fitting, said


def score(
    client: RewardClient,
    encoders: Encoders,
    run_ids: Sequence[str],
    requests: Iterable[list[Rollout]],
    write: Callable[[list[Row]], None],
    advance: Callable[[int], None],
) -> list[Score]:
    """Send the requests in order to existing runs, each text encoded once for all of them.

    Args:
        client: whom to ask.
        encoders: those of the runs.
        run_ids: runs made for this purpose: their memory is what the earlier rollouts leave.
        requests: as `rollouts.requests` cuts the file.
        write: called with each request's rows of the first run.
        advance: called with the number of rollouts each request held.
    """
    scores = [Score(client.run(run_id).config) for run_id in run_ids]
    for rollouts in requests:
        vectors = Vectors(encoders, rollouts)
        for run_id, done in zip(run_ids, scores, strict=True):
            answer = _ask(client, run_id, rollouts, vectors.embeddings(done.config))
            done.add(rollouts, vectors, answer)
            if done is scores[0]:
                write(list(rows(rollouts, answer)))
        advance(len(rollouts))
    return scores


def rows(rollouts: list[Rollout], answer: RewardResponse) -> Iterator[Row]:
    """One row per rollout: what the file held, the reward, its components and the support of both reads."""
    for i, rollout in enumerate(rollouts):
        row: Row = {
            "line": rollout.line,
            "prompt": as_text(rollout.prompt),
            "completion": as_text(rollout.completion),
            "outcome": rollout.outcome,
            "step": rollout.step,
            "prompt_id": rollout.prompt_id,
            "group_id": rollout.group_id,
            "reward": answer.rewards[i],
        }
        for name, values in answer.components.items():
            row[f"{name}_raw"] = values.raw[i]
            row[f"{name}_scaled"] = values.scaled[i]
        row["support_success"] = answer.support.success[i]
        row["support_failure"] = answer.support.failure[i]
        yield row


def _ask(
    client: RewardClient, run_id: str, rollouts: list[Rollout], embeddings: dict[Column, np.ndarray]
) -> RewardResponse:
    named = any(rollout.prompt_id is not None for rollout in rollouts)
    grouped = any(rollout.group_id is not None for rollout in rollouts)
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
