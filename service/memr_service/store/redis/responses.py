"""What request ids were answered with, each a key that expires by itself."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from memr_service.store.base import StoredResponse
from memr_service.store.redis.journal import Amendments
from memr_service.store.redis.server import Server, translated


class Responses:
    """The answers of all runs on a server. `Journal.append` writes them; here they are read and amended."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._script = server.script("amend")
        self._amended: dict[int, dict[str, bytes]] = defaultdict(dict)  # uid -> request id -> final answer

    def find(self, uid: int, request_id: str) -> list[StoredResponse]:
        """All answers to a request id, the oldest branch first; none where the run is gone."""
        with translated(self._server.where):
            pipe = self._server.client.pipeline(transaction=False)
            pipe.exists(self._server.key(uid, "run"))
            pipe.hgetall(self._server.key(uid, f"answer:{request_id}"))
            exists, fields = pipe.execute()
        if not exists or not fields:
            return []
        latest = fields.pop(b"latest")
        if final := self._amended.get(uid, {}).get(request_id):
            fields[latest + b":answer"] = final
        branches = sorted({int(name.partition(b":")[0]) for name in fields})
        return [_answer(branch, fields) for branch in branches]

    def amend(self, uid: int, request_id: str, answer: bytes) -> None:
        """Replace the latest answer to a request id: at once here, for others with the run's next commit or `close`."""
        self._amended[uid][request_id] = answer

    def amended(self, uid: int) -> Amendments:
        """What the run's next commit is to take along; `settle` once it has."""
        waiting = self._amended.get(uid, {})
        keys = [self._server.key(uid, f"answer:{request_id}") for request_id in waiting]
        return Amendments(keys, list(waiting.values()))

    def settle(self, uid: int) -> None:
        """What was amended is written."""
        self._amended.pop(uid, None)

    def write_amended(self) -> None:
        """Write what no commit has taken along."""
        with translated(self._server.where):
            for uid in list(self._amended):
                waiting = self.amended(uid)
                if waiting.keys:
                    self._script(waiting.keys, waiting.answers)
                self.settle(uid)


def _answer(branch: int, fields: dict[bytes, Any]) -> StoredResponse:
    position, digest, answer = (fields[b"%d:%s" % (branch, name)] for name in (b"position", b"digest", b"answer"))
    return StoredResponse(branch, int(position), digest, answer)
