"""The options of reward components, and of the guards that each may have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from memr_client.schemas.wire import Cosine, Count, Finite, Options, Share

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
    """Limits that a completion must keep, whether to be paid or to be remembered."""

    topic_floor: Cosine | None = None
    """Reject completions whose cosine to their prompt is below it: refusals, noise, answers to something else."""
    min_chars: Count | None = None
    max_chars: Count | None = None
    """Reject completions shorter or longer than this."""
    max_repetition: Share | None = None
    """Reject completions of which a larger share repeats what was said earlier in them."""
    max_copied: Share | None = None
    """Reject completions of which a larger share stands in their prompt."""
    max_foreign: Count | None = None
    """Reject completions with a longer stretch, in bytes, that has nothing in common with their prompt or any sibling.
    Looked at where a group has three completions or more."""
    drop_truncated: bool = False
    """Reject completions that the trainer sent as `truncated`."""


class ComponentGuards(Gates):
    """What keeps items from a component's reward. A rejected item has no raw value and does not move the window."""

    neighbour_floor: Cosine | None = None
    """exploit and explore: reject items whose nearest prompt in memory is less similar than this."""
    only_if: Literal["correct", "incorrect"] | None = None
    """Pay completions of this side alone, and look at no others."""
    earned_by: Literal["correct", "incorrect"] | None = None
    """Pay completions of this side alone, but measure all: nobody is rejected, and the window knows both sides."""
    mixed_groups_only: bool = False
    """Pay only in groups with both right and wrong completions."""
    cap: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)] | None = None
    """Most that the weighted value may be, as a share of |outcome|."""
    anneal: tuple[Count, Count] | None = None
    """[start, end]: the weight falls from 1 to 0 times its value between these steps."""

    @field_validator("anneal")
    @classmethod
    def _the_end_is_later(cls, anneal: tuple[int, int] | None) -> tuple[int, int] | None:
        if anneal is not None and anneal[0] >= anneal[1]:
            raise ValueError(f"anneal must be [start, end] with start before end, not {list(anneal)}")
        return anneal


class Component(Options):
    """How one reward component takes part in the sum."""

    weight: Finite = 1.0
    """Factor of the scaled value in the reward (lambda in equation 7 of the paper)."""
    bounds: Literal["min-max", "p5-p95", "rank"] = "min-max"
    """What a windowed component is scaled by: the window's ends (the paper), its 5th and 95th percentile, or ranks."""
    guards: ComponentGuards = ComponentGuards()


class Exploit(Component):
    """Options of `exploit`: being close to what worked."""

    centroids: Annotated[int, Field(ge=1, le=64, strict=True)] | Literal["all"] = 1
    """The distance counts to the nearest of so many centroids; `all`: to the nearest success itself."""


class ErrorCluster(Component):
    """Options of `error_cluster`: a wrong completion pays for the failures of its prompt that it repeats."""

    alpha: Finite = 0.1
    """What each doubling of the cluster costs, times ln 2."""
    beta: Finite = 0.2
    """Most that a completion pays."""
    similarity: Cosine = 0.9
    """Failures at least this similar are the same error."""


class BandedNovelty(Component):
    """Options of `banded_novelty`: being unlike siblings, right completions always above wrong ones."""

    flat: Annotated[float, Field(gt=0, le=2, strict=True)] = 1e-6
    """Novelties of one side that spread by less than this get that much less of their band."""


class Contrast(Component):
    """Options of `contrast`: the projection on the way from the mean of all failures to the mean of all successes."""

    window: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] = 1000
    """How many past raw values it is scaled by, in place of the run's `window`."""


class Value(Component):
    """Options of `value`: what the most similar completions of the run have earned."""

    neighbours: Annotated[int, Field(ge=1, le=1024, strict=True)] = 32
    """How many of them count."""
    temperature: Annotated[float, Field(gt=0, le=10, strict=True)] = 0.05
    """A neighbour farther by this much counts a third."""


class OutcomeUcb(Component):
    """Options of `outcome_ucb`: answers seen rarely for a prompt are worth more. Needs `answers`."""

    baseline: Finite = 0.5
    """Taken off, so that an answer seen often pays."""


class Partition(Component):
    """Options of `partition`: the outcome, times how few of the group say the same. Labels, or clusters by cosine."""

    similarity: Cosine = 0.9
    """Completions linked by at least this cosine are one class, where no `labels` are sent."""
    floor: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    """Least share of the outcome that is left."""


COMPONENTS: dict[str, type[Component]] = {
    "exploit": Exploit,
    "error_cluster": ErrorCluster,
    "banded_novelty": BandedNovelty,
    "contrast": Contrast,
    "value": Value,
    "outcome_ucb": OutcomeUcb,
    "partition": Partition,
}
"""Components with options of their own; the others have a weight."""
