"""The responses to request ids, each a key that expires by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memr_service.store.base import StoredResponse
from memr_service.store.redis.server import Server, translated


@dataclass(frozen=True)
class Amendments:
    """Responses that the next commit puts in place of those at `keys`."""

    keys: Sequence[str]
    responses: Sequence[bytes]


class RedisResponses:
    """The responses of all runs on a server. `RedisJournal` writes them; here they are read and amended."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._script = server.script("amend")
        self._amended: dict[int, dict[str, bytes]] = defaultdict(dict)  # uid -> request id -> final response

    def find(self, uid: int, request_id: str) -> list[StoredResponse]:
        """The responses to a request id, by branch, the oldest first; none if the run is gone."""
        with translated(self._server.where):
            pipe = self._server.client.pipeline(transaction=False)
            pipe.exists(self._server.key(uid, "run"))
            pipe.hgetall(self._key(uid, request_id))
            exists, fields = pipe.execute()
        if not exists or not fields:
            return []
        self._server.confirm(uid)  # the process that stored it may have waited for its replicas in vain
        latest = fields.pop(b"latest")
        if final := self._amended.get(uid, {}).get(request_id):
            fields[latest + b":answer"] = final
        branches = sorted({int(name.partition(b":")[0]) for name in fields})
        return [_response(branch, fields) for branch in branches]

    def amend(self, uid: int, request_id: str, response: bytes) -> None:
        """Replace the newest response to a request id: here at once, on the server with the run's next commit."""
        self._amended[uid][request_id] = response

    def amended(self, uid: int) -> Amendments:
        """What the run's next commit is to write; call `settle` once it has."""
        waiting = self._amended.get(uid, {})
        return Amendments([self._key(uid, request_id) for request_id in waiting], list(waiting.values()))

    def settle(self, uid: int) -> None:
        """Forget the amended responses: they are written."""
        self._amended.pop(uid, None)

    def write_amended(self) -> None:
        """Write the amended responses that no commit has written."""
        with translated(self._server.where):
            for uid in list(self._amended):
                waiting = self.amended(uid)
                if waiting.keys:
                    self._script(waiting.keys, waiting.responses)
                self.settle(uid)

    def _key(self, uid: int, request_id: str) -> str:
        return self._server.key(uid, f"answer:{request_id}")


def _response(branch: int, fields: dict[bytes, Any]) -> StoredResponse:
    position, digest, response = (fields[b"%d:%s" % (branch, name)] for name in (b"position", b"digest", b"answer"))
    return StoredResponse(branch, int(position), digest, response)
