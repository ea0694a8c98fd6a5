"""Limits on the config of a new run. A run that exists keeps the config that it was created with."""

from __future__ import annotations

from memr_client.errors import InvalidRequest
from memr_client.schemas import MOST_IN_GROUP, MOST_TAG_CHARS, RunConfig


def check_new(config: RunConfig) -> None:
    """Refuse a resolved config that a new run may not have.

    Raises:
        InvalidRequest: `group_size` or a reasoning tag is over its limit.
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
