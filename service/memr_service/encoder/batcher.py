"""A worker thread that batches texts of many requests for the encoder, from a bounded queue."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from memr_client.errors import DeadlineExceeded, Overloaded, Unavailable

from memr_service.encoder import Encoded, Encoders
from memr_service.encoder.cache import VectorCache

BUDGET = 16_384
"""Tokens encoded in one call, about: enough to keep the processor busy, few enough that others wait only a little."""
TURN = 32
"""Texts of one request that are put into a call before it is the next request's turn."""
TOKEN_CHARS = 4
"""Characters of a token, about."""
CACHE_BYTES = 64 << 20
"""Bytes of the cache of texts and their vectors."""
_LONGEST_RETRY_S = 60


@dataclass(eq=False)
class _Work:
    """The distinct texts of one request, and the future of their vectors."""

    name: str
    texts: list[str]
    precision: str
    long_text: str
    deadline: float | None
    alone: bool
    encoded: Future[Encoded] = field(default_factory=Future)
    taken: int = 0
    """How many of the texts have left the queue."""
    rows: list[tuple[np.ndarray, bool]] = field(default_factory=list)
    """Vector of each text encoded so far, and whether it was truncated."""

    @property
    def kind(self) -> tuple[str, str, str, bool]:
        """What texts must have in common to be encoded in one call."""
        return self.name, self.precision, self.long_text, self.alone

    @property
    def begun(self) -> bool:
        """Whether any of it is being encoded, or was."""
        return self.encoded.running()

    def take(self, room: int) -> tuple[list[str], int]:
        """Take the next texts, at most one TURN and about `room` tokens; return them and their number of tokens."""
        tokens, start = 0, self.taken
        while self.taken < len(self.texts) and self.taken < start + TURN and tokens < room:
            tokens += 1 + len(self.texts[self.taken]) // TOKEN_CHARS
            self.taken += 1
        return self.texts[start : self.taken], tokens


class Batcher:
    """Encodes texts for many callers on one thread, so that an encoder has one call at a time.

    encoded = await batcher.encode("all-MiniLM-L6-v2", texts, "float32", "truncate", deadline=None)

    No request waits for others to come: texts that arrive while the encoder is busy share its next call, up to BUDGET
    tokens. Requests take turns in it, so a large request does not delay small ones. The encoder sorts the texts of a
    call by length.
    """

    def __init__(self, encoders: Encoders, max_queue_texts: int) -> None:
        self.queued_texts = 0
        """Texts that are waiting, without those being encoded."""
        self._encoders = encoders
        self._limit = max_queue_texts
        self._waiting: deque[_Work] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._seconds_per_text = 0.0
        self._cache = VectorCache(CACHE_BYTES)
        self._thread = threading.Thread(target=self._serve, name="memr-encoder", daemon=True)
        self._thread.start()

    async def encode(
        self, name: str, texts: list[str], precision: str, long_text: str, deadline: float | None, alone: bool = False
    ) -> Encoded:
        """Encode n texts, each distinct text once. If all of them are in the cache, they need not wait.

        If the caller is cancelled while its texts are waiting, they leave the queue.

        Args:
            name: an encoder that the server offers; it is loaded if necessary.
            deadline: instant of `time.monotonic()` by which encoding must have begun.
            alone: encode each text by itself, so that its vector depends on nothing but the text. In a batch the last
                bits depend on the other texts (by padding, and by how matrices are cut into tiles). On a few cores
                `alone` costs nothing, since nothing is padded; on many cores and on a GPU most of the gain of batches
                is lost.

        Raises:
            Overloaded: the queue has no room. A request of any size is accepted while nothing is waiting.
            DeadlineExceeded: encoding had not begun in time.
            Unavailable: the batcher is closed. EncoderUnusable: the encoder cannot be loaded.
        """
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        work = _Work(name, list(row_of), precision, long_text, deadline, alone)
        if texts and not alone and (known := self._cache.all_of(work.kind, work.texts)) is not None:
            found = [known[row_of[text]] for text in texts]  # such as the prompts of a group that comes one by one
            return Encoded(np.stack([vector for vector, _ in found]), np.array([cut for _, cut in found], bool))
        self._submit(work)
        waiter = asyncio.wrap_future(work.encoded)
        try:
            await asyncio.wait([waiter], timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            if work.encoded.cancel():  # a future can be cancelled only before its work has begun
                raise _too_late()
            encoded = await waiter
        finally:
            waiter.cancel()
            self._withdraw(work)
        rows = [row_of[text] for text in texts]
        return Encoded(encoded.vectors[rows], encoded.truncated[rows])

    def close(self) -> None:
        """Fail all waiting work with `Unavailable`; work that has begun is finished."""
        with self._changed:
            self._closed = True
            left = [work for work in self._waiting if not work.begun]
            for work in left:
                self._drop(work)
            self._changed.notify_all()
        for work in left:
            if work.encoded.set_running_or_notify_cancel():
                work.encoded.set_exception(_closing())

    def join(self, seconds: float) -> None:
        """Wait until the worker thread has ended after `close`, at most this long: a model may be loading in it."""
        self._thread.join(seconds)

    def _submit(self, work: _Work) -> None:
        """Put work at the end of the queue, if there is room."""
        with self._changed:
            if self._closed:
                raise _closing()
            wanted = self.queued_texts + len(work.texts)
            if self._waiting and wanted > self._limit:
                seconds = math.ceil(self.queued_texts * self._seconds_per_text)
                raise Overloaded(
                    f"{self.queued_texts} texts are waiting for the encoder; {len(work.texts)} more are too many.",
                    value=wanted,
                    limit=self._limit,
                    remedy="Send it again after the seconds given in Retry-After.",
                    retry_after=min(max(seconds, 1), _LONGEST_RETRY_S),
                )
            self._waiting.append(work)
            self.queued_texts = wanted
            self._changed.notify_all()

    def _withdraw(self, work: _Work) -> None:
        """Take what is left of some work out of the queue: nobody waits for it any more."""
        work.encoded.cancel()
        with self._changed:
            if work in self._waiting:
                self._drop(work)

    def _drop(self, work: _Work) -> None:
        """Take waiting work out of the queue (the lock is held)."""
        self._waiting.remove(work)
        self.queued_texts -= len(work.texts) - work.taken

    def _serve(self) -> None:
        """The worker thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                call = self._next_call()
            if call:  # it is empty if all waiting work was cancelled or came too late
                self._settle(call)
            del call  # its texts would be kept until the next one comes

    def _next_call(self) -> list[tuple[_Work, list[str]]]:
        """Texts for one call of the encoder: of the first waiting work, and of others of its kind in turns."""
        kind = self._waiting[0].kind
        turns = deque(work for work in self._waiting if work.kind == kind)
        call, room = [], BUDGET
        while turns and room > 0:
            work = turns.popleft()
            if not work.begun and not self._begin(work):
                continue
            texts, tokens = work.take(room)
            call.append((work, texts))
            room -= tokens
            self.queued_texts -= len(texts)
            self._waiting.remove(work)
            if work.taken < len(work.texts):  # to the end: others have not had a turn yet
                self._waiting.append(work)
                turns.append(work)
        return call

    def _begin(self, work: _Work) -> bool:
        """Mark work as begun, and return True; or take it out of the queue if it was cancelled or is too late."""
        if work.encoded.set_running_or_notify_cancel():
            if work.deadline is None or time.monotonic() <= work.deadline:
                return True
            work.encoded.set_exception(_too_late())
        self._drop(work)
        return False

    def _settle(self, call: list[tuple[_Work, list[str]]]) -> None:
        """Encode the texts of a call, and set the result or the error of all work that is complete."""
        try:
            rows = self._encode(call)
        except BaseException as error:
            if len(call) > 1:  # the texts of one request must not fail another request
                for one in call:
                    self._settle([one])
                return
            ((work, _),) = call
            self._withdraw(work)
            if not work.encoded.done():
                work.encoded.set_exception(error)
            return
        for work, texts in call:
            work.rows += [rows[text] for text in texts]
            if len(work.rows) == len(work.texts) and not work.encoded.done():
                vectors = np.stack([vector for vector, _ in work.rows]) if work.rows else self._no_vectors(work)
                work.encoded.set_result(Encoded(vectors, np.array([truncated for _, truncated in work.rows], bool)))

    def _encode(self, call: list[tuple[_Work, list[str]]]) -> dict[str, tuple[np.ndarray, bool]]:
        """Text -> its vector, and whether it was truncated, for the texts of a call."""
        (work, _), *_ = call
        known = {} if work.alone else {text: self._cache.get(work.kind, text) for _, texts in call for text in texts}
        rows = {text: row for text, row in known.items() if row is not None}
        fresh = [*dict.fromkeys(text for _, texts in call for text in texts if text not in rows)]
        if fresh:
            encoder, begun = self._encoders.load(work.name), time.monotonic()
            for texts in [[text] for text in fresh] if work.alone else [fresh]:
                encoded = encoder.encode(texts, work.precision, work.long_text)
                rows |= zip(texts, zip(encoded.vectors, encoded.truncated.tolist(), strict=True), strict=True)
            self._seconds_per_text = (time.monotonic() - begun) / len(fresh)
        if not work.alone:
            for text in fresh:
                self._cache.put(work.kind, text, *rows[text])
        return rows

    def _no_vectors(self, work: _Work) -> np.ndarray:
        return np.empty((0, self._encoders.load(work.name).dimension), np.float32)


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded(
        "The encoder was busy until the deadline had passed; nothing changed.",
        remedy="Send it again, allow more time (X-Request-Timeout-Ms), or send fewer texts at once.",
    )


def _closing() -> Unavailable:
    return Unavailable("The service is shutting down.", remedy="Send it again once the service is back.", retry_after=1)
