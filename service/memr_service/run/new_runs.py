"""Limits on the config of a new run. A run that exists keeps the config that it was created with."""

from __future__ import annotations

from memr_client.errors import InvalidRequest
from memr_client.schemas import MOST_IN_GROUP, MOST_TAG_CHARS, RunConfig

from memr_service.rewards.cost import Size, expected_s
from memr_service.state.law import ANSWERS

GROUP, MOST = 16, 16_384
"""Completions of the group that a new run must be able to score when its memories are full: its own `group_size`, or
GROUP; at most MOST."""


def check_law(config: RunConfig, law: int) -> None:
    """Refuse a config that needs what a run of this law does not have.

    Raises:
        InvalidRequest: it repairs, but the run keeps no answers.
    """
    if config.repair is not None and law < ANSWERS:
        raise InvalidRequest(
            f"repair needs answers, but the run was created under law {law}, so it keeps none.",
            value=law,
            limit=ANSWERS,
            remedy="Leave repair out, or create a new run; runs keep answers from then on.",
        )


def check_new(config: RunConfig, scoring_s: float) -> None:
    """Refuse a resolved config that a new run may not have.

    Args:
        scoring_s: the longest that scoring one request may take (`MEMR_SCORING_S`).

    Raises:
        InvalidRequest: `group_size` or a reasoning tag is over its limit, or scoring one group over full memories would
            take too long.
    """
    if config.group_size is not None and config.group_size > MOST_IN_GROUP:
        raise InvalidRequest(
            f"group_size is {config.group_size}, but must be at most {MOST_IN_GROUP}.",
            value=config.group_size,
            limit=MOST_IN_GROUP,
            remedy="Set it to the number of completions that the trainer samples for one prompt.",
        )
    longest = max(map(len, config.reasoning_tags or ()), default=0)
    if longest > MOST_TAG_CHARS:
        raise InvalidRequest(
            f"reasoning_tags has a tag of {longest} characters, but a tag has at most {MOST_TAG_CHARS}.",
            value=longest,
            limit=MOST_TAG_CHARS,
            remedy="Send the tags that the policy writes, for example <think> and </think>.",
        )
    takes = expected_s(config, Size.of_full(config, min(config.group_size or GROUP, MOST)))
    if takes > scoring_s:
        raise InvalidRequest(
            f"With these settings scoring one group over full memories would take about {takes:.1f} s, and all runs "
            f"wait meanwhile; the limit is {scoring_s:g} s. Its cost grows with k ({config.k}) * max_completions "
            f"({config.max_completions}) * centroids, and with window and the square of group_size.",
            value=round(takes, 1),
            limit=scoring_s,
            remedy="Choose a smaller k, max_completions or number of centroids, or raise MEMR_SCORING_S.",
        )
