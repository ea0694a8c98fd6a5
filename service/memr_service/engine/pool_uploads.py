"""Pools that are sent in parts: what has come so far, until the last part makes a pool of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from memr_client.errors import Conflict, InvalidRequest, TooLarge

from memr_service.state.pool import MOST_IN_POOL, Pool

MOST_UPLOADS = 4
"""So many uploads may be on their way, over all runs. One more drops the one that has had no part for longest."""

MOST_ID_BYTES = 1 << 28
"""Most bytes of the ids of a pool that comes in parts."""


@dataclass
class _Upload:
    parts: int
    got: dict[int, Pool] = field(default_factory=dict)


class PoolUploads:
    """The parts of pools that have come, by run and by the upload's name, so that two uploads are never mixed."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, str], _Upload] = {}  # in the order of their newest parts

    def add(self, run: int, upload: str, part: int, parts: int, given: Pool) -> list[Pool] | None:
        """Keep a part; all of them in order once the last has come. A part that comes again replaces the first.

        Raises:
            Conflict: other parts of the upload said another number of parts. InvalidRequest: some parts have texts,
            and others have none. TooLarge: the parts are more than a pool. Nothing is kept of the part.
        """
        found = self._waiting.get((run, upload)) or _Upload(parts)
        if found.parts != parts:
            raise Conflict(
                f"Upload {upload!r} comes in {found.parts} parts, but this one says {parts}.",
                value=parts,
                limit=found.parts,
                remedy="Give each upload of a pool a name of its own: ?upload=NAME.",
            )
        others = [one for number, one in found.got.items() if number != part]
        if others and bool(len(given.texts)) != bool(len(others[0].texts)):
            raise InvalidRequest(
                "Some parts of the pool have prompts, and others only their ids.",
                value=part,
                remedy="Send prompts with every part, or with none.",
            )
        total = len(given) + sum(map(len, others))
        if total > MOST_IN_POOL:
            raise TooLarge(
                f"The parts of the pool have {total} prompts together.",
                value=total,
                limit=MOST_IN_POOL,
                remedy="Set a smaller pool.",
            )
        size = sum(len(one.names) for one in (given, *others))
        if size > MOST_ID_BYTES:
            raise TooLarge(
                f"The ids of the pool's parts have {size} bytes together.",
                value=size,
                limit=MOST_ID_BYTES,
                remedy="Use shorter ids.",
            )
        self._waiting.pop((run, upload), None)
        found.got[part] = given
        if len(found.got) == parts:
            return [found.got[number] for number in range(parts)]
        self._waiting[run, upload] = found
        if len(self._waiting) > MOST_UPLOADS:
            del self._waiting[next(iter(self._waiting))]
        return None

    def waiting(self, run: int) -> int:
        """How many parts of a run's uploads wait for others."""
        return sum(len(one.got) for (of, _), one in self._waiting.items() if of == run)

    def forget(self, run: int) -> None:
        """Drop the parts of a run."""
        self._waiting = {key: one for key, one in self._waiting.items() if key[0] != run}


def joined(parts: list[Pool]) -> Pool:
    """One pool of several, in their order."""
    starts = np.cumsum([0, *(len(one.names) for one in parts[:-1])])
    return Pool(
        names=np.concatenate([one.names for one in parts]),
        ends=np.concatenate([one.ends + start for one, start in zip(parts, starts.tolist(), strict=True)]),
        keys=np.concatenate([one.keys for one in parts]),
        texts=np.concatenate([one.texts for one in parts]),
    )
