"""Bodies that have arrived and are not answered yet: how many bytes of them the server keeps in all."""

from __future__ import annotations

from memr_client.errors import Overloaded


class ArrivedBodies:
    """Their number and bytes. For one event loop.

    Args:
        most: bytes over all requests. Beyond it no body may grow above an equal share of it, so that those who fill the
            room with large or unfinished bodies do not shut small requests out. More than twice as much is never kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._requests = 0

    def add(self, kept: int, size: int) -> None:
        """Count bytes that arrived for a request.

        Args:
            kept: bytes that were counted for the request before.

        Raises:
            Overloaded: there is no room for them, and they are not counted.
        """
        requests, in_all = self._requests + (not kept), self._bytes + size
        if in_all > 2 * self._most or (in_all > self._most and (kept + size) * requests > self._most):
            raise Overloaded(
                "The bodies of requests that are not answered yet hold too much memory.",
                value=in_all,
                limit=self._most,
                remedy="Send it again when some have been answered, send less at once, or raise "
                "MEMR_MAX_ARRIVED_BYTES on the server.",
                retry_after=1,
            )
        self._requests, self._bytes = requests, in_all

    def remove(self, kept: int) -> None:
        """Count a request's bytes no longer."""
        self._requests -= 1
        self._bytes -= kept
