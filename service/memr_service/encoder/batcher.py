"""The encoder's one owner: a worker thread that takes texts from a bounded queue, of many requests at a time."""

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
"""Tokens encoded in one call, about: enough to fill a processor, few enough that whoever comes next waits little."""
TURN = 32
"""Texts a request may have in a call before it is the next one's turn."""
TOKEN_CHARS = 4
"""Characters that make a token, about."""
CACHE_BYTES = 64 << 20
"""Of texts that were encoded before, and their vectors."""
_LONGEST_RETRY_S = 60


@dataclass(eq=False)
class _Work:
    """The distinct texts of one request and the promise of their vectors."""

    name: str
    texts: list[str]
    precision: str
    long_text: str
    deadline: float | None
    alone: bool
    encoded: Future[Encoded] = field(default_factory=Future)
    taken: int = 0
    """Texts that do not wait any more."""
    rows: list[tuple[np.ndarray, bool]] = field(default_factory=list)
    """Vector of each text encoded so far, and whether it was truncated."""

    @property
    def kind(self) -> tuple[str, str, str, bool]:
        """Texts of one kind may be encoded in one call."""
        return self.name, self.precision, self.long_text, self.alone

    @property
    def begun(self) -> bool:
        """Whether any of it is being encoded, or was."""
        return self.encoded.running()

    def take(self, room: int) -> tuple[list[str], int]:
        """The next texts, one TURN at most and about `room` tokens; and how many tokens those have."""
        tokens, start = 0, self.taken
        while self.taken < len(self.texts) and self.taken < start + TURN and tokens < room:
            tokens += 1 + len(self.texts[self.taken]) // TOKEN_CHARS
            self.taken += 1
        return self.texts[start : self.taken], tokens


class Batcher:
    """Encodes texts for many callers on one thread, so that an encoder never sees two at once.

    encoded = await batcher.encode("all-MiniLM-L6-v2", texts, "float32", "truncate", deadline=None)

    Nobody waits for company: what comes while the encoder is busy shares its next call, up to BUDGET tokens. Requests
    take turns in it, so that a large one does not hold up the small ones; the encoder sorts a call's texts by length.
    """

    def __init__(self, encoders: Encoders, max_queue_texts: int) -> None:
        self.queued_texts = 0
        """Texts that wait; those being encoded do not count."""
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
        """Vectors of n texts, each distinct text encoded once.

        A caller that is cancelled while its texts wait costs nothing: they leave the queue.

        Args:
            name: an encoder of the allow-list; it is loaded if it is not yet.
            deadline: instant of `time.monotonic()` by which the encoder must have begun.
            alone: encode each text by itself. Among others its vector depends on them in the last bits (how far it is
                padded, how matrices are cut into tiles), alone on nothing but the text. On a few cores that costs
                nothing, for nothing is padded; on many cores and on a GPU it gives up most of what batches gain.

        Raises:
            Overloaded: the queue has no room. (One request of any size passes while nothing waits.)
            DeadlineExceeded: not begun in time.
            Unavailable: closed, or the encoder cannot be loaded.
        """
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        work = _Work(name, list(places), precision, long_text, deadline, alone)
        self._submit(work)
        waiter = asyncio.wrap_future(work.encoded)
        try:
            await asyncio.wait([waiter], timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            if work.encoded.cancel():  # only what has not begun can be cancelled
                raise _too_late()
            encoded = await waiter
        finally:
            waiter.cancel()
            self._withdraw(work)
        rows = [places[text] for text in texts]
        return Encoded(encoded.vectors[rows], encoded.truncated[rows])

    def close(self) -> None:
        """Answer all who wait with `Unavailable`; what is being encoded is finished."""
        with self._changed:
            self._closed = True
            left = [work for work in self._waiting if not work.begun]
            for work in left:
                self._drop(work)
            self._changed.notify_all()
        for work in left:
            if work.encoded.set_running_or_notify_cancel():
                work.encoded.set_exception(_closing())

    def _submit(self, work: _Work) -> None:
        """Put work at the end of the queue, if there is room."""
        with self._changed:
            if self._closed:
                raise _closing()
            wanted = self.queued_texts + len(work.texts)
            if self._waiting and wanted > self._limit:
                seconds = math.ceil(self.queued_texts * self._seconds_per_text)
                raise Overloaded(
                    f"{self.queued_texts} texts wait for the encoder, and {len(work.texts)} more are too many",
                    value=wanted,
                    limit=self._limit,
                    remedy="send again after the seconds that Retry-After says",
                    retry_after=min(max(seconds, 1), _LONGEST_RETRY_S),
                )
            self._waiting.append(work)
            self.queued_texts = wanted
            self._changed.notify_all()

    def _withdraw(self, work: _Work) -> None:
        """Nobody waits for this work any more: what is left of it leaves the queue."""
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
            if call:  # all who waited may have gone
                self._answer(call)

    def _next_call(self) -> list[tuple[_Work, list[str]]]:
        """Texts for one call of the encoder: of the first that waits, and of others of its kind in turns."""
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
            if work.taken < len(work.texts):  # behind those who had no turn yet
                self._waiting.append(work)
                turns.append(work)
        return call

    def _begin(self, work: _Work) -> bool:
        """Whether somebody waits for the work, and it comes in time; if not, it leaves the queue."""
        if work.encoded.set_running_or_notify_cancel():
            if work.deadline is None or time.monotonic() <= work.deadline:
                return True
            work.encoded.set_exception(_too_late())
        self._drop(work)
        return False

    def _answer(self, call: list[tuple[_Work, list[str]]]) -> None:
        """Encode the texts of a call; works that are complete are answered, whatever happens."""
        try:
            rows = self._encode(call)
        except BaseException as error:
            if len(call) > 1:  # one request's texts are no reason to refuse another's
                for one in call:
                    self._answer([one])
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
        """Vector of each text of a call, and whether it was truncated."""
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
        "the encoder was busy until the deadline had passed; nothing changed",
        remedy="send again, allow more time (X-Request-Timeout-Ms), or send fewer texts at once",
    )


def _closing() -> Unavailable:
    return Unavailable("the service is shutting down", remedy="send again once it is back", retry_after=1)
