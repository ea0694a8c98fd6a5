"""Fairness between processes that write to one run: a loser waits a little, and one that lost often gets a turn."""

from __future__ import annotations

import random
import time

from memr_service.store.redis.server import Server, translated

PATIENCE = 4
"""Losses in a row after which a process asks for a turn."""
STEP_BACK_S = 0.0005
TURN_MS = 500
"""How long others wait for the process that has the turn; its commit ends the turn. After that, its commits are refused
as any other."""


class Backoff:
    """How often this process has lost each run's race in a row.

    A turn is a courtesy, not a lock: the commit itself keeps two records from one position.
    """

    def __init__(self, server: Server, token: bytes) -> None:
        self.token = token
        self._server = server
        self._losses: dict[int, int] = {}

    def won(self, uid: int) -> None:
        """Note that a commit went through (and ended the turn, if there was one)."""
        self._losses.pop(uid, None)

    def lost(self, uid: int) -> None:
        """Note that a commit was refused: wait a little, longer each time, or ask for the turn."""
        losses = self._losses[uid] = self._losses.get(uid, 0) + 1
        if losses >= PATIENCE:
            with translated(self._server.where):
                self._server.client.set(self._server.key(uid, "turn"), self.token, nx=True, px=TURN_MS)
        else:
            time.sleep(random.uniform(0, STEP_BACK_S * 2**losses))

    def wait(self) -> None:
        """Wait a little: another process has the turn."""
        time.sleep(random.uniform(STEP_BACK_S, 4 * STEP_BACK_S))
