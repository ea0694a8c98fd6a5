"""Options of the reward components and of their guards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from memr_client.schemas.wire import Cosine, Count, Finite, Options, Share, Whole, unfit

ComponentName = Literal[
    "exploit",
    "explore",
    "error_cluster",
    "banded_novelty",
    "contrast",
    "value",
    "outcome_ucb",
    "partition",
    "random",
    "shuffled",
]


class Gates(Options):
    """Limits on a completion. As guards they decide about its reward, as write gates about the memory."""

    topic_floor: Cosine | None = None
    """Reject completions whose cosine to their prompt is lower: refusals, noise, answers to another question."""
    topic_for: Literal["all", "encoded"] = "all"
    """Completions that `topic_floor` applies to: all of them, or only those that the service encoded, because a floor
    chosen for one encoder says nothing about embeddings that were sent."""
    answer_chars: Count | None = None
    """Exempt short answers from `topic_floor` and `max_copied`: completions of at most so many characters that are
    little else than a number, a computation, or the option or verdict that the prompt asks for. A sentence encoder
    finds little of the question in "7"."""
    min_chars: Count | None = None
    """Reject completions with fewer characters."""
    max_chars: Count | None = None
    """Reject completions with more characters."""
    max_repetition: Share | None = None
    """Reject completions that repeat a larger share of their own text."""
    max_copied: Share | None = None
    """Reject completions that copy a larger share of their text from the prompt, in whatever case, order of words and
    white space."""
    max_foreign: Count | None = None
    """Reject completions with a longer passage, in bytes, that shares nothing with the prompt or a sibling. Applies to
    groups of three completions or more."""
    drop_truncated: bool = False
    """Reject completions that the trainer sent as `truncated`."""


class ComponentGuards(Gates):
    """Guards of a component's reward. A rejected item has no raw value and does not move the window."""

    neighbour_floor: Cosine | None = None
    """exploit and explore: reject items whose nearest prompt in memory has a lower cosine."""
    only_if: Literal["correct", "incorrect"] | None = None
    """Reward only completions of this side; the others are rejected."""
    earned_by: Literal["correct", "incorrect"] | None = None
    """Reward only completions of this side. The others are not rejected: they keep raw values and move the window."""
    mixed_groups_only: bool = False
    """Reward only groups that have both right and wrong completions."""
    cap: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)] | None = None
    """Largest weighted value, as a share of |outcome|."""
    anneal: tuple[Count, Count] | None = None
    """[start, end]: between these steps the weight falls linearly to 0."""

    @field_validator("anneal")
    @classmethod
    def _the_end_is_later(cls, anneal: tuple[int, int] | None) -> tuple[int, int] | None:
        if anneal is not None and anneal[0] >= anneal[1]:
            raise unfit("anneal must be [start, end] with start before end", list(anneal), "start before end")
        return anneal


class Component(Options):
    """Options that every reward component has."""

    weight: Finite = 1.0
    """Factor of the scaled value in the reward (lambda in equation 7 of the paper)."""
    bounds: Literal["min-max", "p5-p95", "rank"] = "min-max"
    """How the window scales a value: by its minimum and maximum (the paper), by its 5th and 95th percentiles, or by the
    value's rank in it."""
    tails: Annotated[float, Field(ge=0, lt=0.5, strict=True)] = 0.0
    """Part of the scale, at each end, for the values beyond the percentiles of `p5-p95`: they keep their order and stay
    above what a rejected completion gets. 0 cuts them off at the bounds."""
    guards: ComponentGuards = ComponentGuards()
    """Which completions get no reward from this component."""


class Exploit(Component):
    """Options of `exploit`, which rewards closeness to earlier successes."""

    centroids: Annotated[int, Field(ge=1, le=64, strict=True), Whole] | Literal["all"] = 1
    """Number of centroids of the successes read; the nearest one counts. `all`: the nearest success counts."""


class ErrorCluster(Component):
    """Options of `error_cluster`, which penalises wrong completions that repeat earlier failures of their prompt."""

    alpha: Finite = 0.1
    """The penalty of a failure made n times before is alpha * ln(n + 1), up to `beta`."""
    beta: Finite = 0.2
    """Largest penalty."""
    similarity: Cosine = 0.9
    """Failures with at least this cosine are the same error."""


class BandedNovelty(Component):
    """Options of `banded_novelty`, which rewards being unlike siblings and keeps right completions above wrong ones."""

    flat: Annotated[float, Field(gt=0, le=2, strict=True)] = 1e-6
    """Spread of one side's novelties below which they fill less than their band, in proportion."""


class Contrast(Component):
    """Options of `contrast`, the projection on the direction from the mean failure to the mean success."""

    window: Annotated[int, Field(ge=1, le=1_000_000, strict=True), Whole] = 1000
    """Number of past raw values that scale it, instead of the run's `window`."""


class Value(Component):
    """Options of `value`, the outcome of similar completions, averaged with weights that fall with distance."""

    neighbours: Annotated[int, Field(ge=1, le=1024, strict=True), Whole] = 32
    """Number of nearest completions that count."""
    temperature: Annotated[float, Field(gt=0, le=10, strict=True)] = 0.05
    """Distance over which a neighbour's weight falls to 1/e."""


class OutcomeUcb(Component):
    """Options of `outcome_ucb`, which rewards answers that were rarely given to a prompt. Needs `answers`."""

    baseline: Finite = 0.5
    """Subtracted, so that a frequent answer is penalised."""


class Partition(Component):
    """Options of `partition`: the outcome, reduced by the share of the group that says the same."""

    similarity: Cosine = 0.9
    """Without `labels`, completions linked by at least this cosine form a class."""
    floor: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    """Smallest share of the outcome that a completion keeps."""


COMPONENTS: dict[str, type[Component]] = {
    "exploit": Exploit,
    "error_cluster": ErrorCluster,
    "banded_novelty": BandedNovelty,
    "contrast": Contrast,
    "value": Value,
    "outcome_ucb": OutcomeUcb,
    "partition": Partition,
}
"""Components with options of their own. The others take those of `Component`."""
