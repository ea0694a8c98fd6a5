"""The encoder's one owner: a worker thread that takes requests' texts from a bounded queue, in order of arrival."""

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


class Batcher:
    """Encodes texts for many callers on one thread, so that an encoder never sees two at once.

    encoded = await batcher.encode("all-MiniLM-L6-v2", texts, "float32", "truncate", deadline=None)
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
            left, self._waiting, self.queued_texts = self._waiting, deque(), 0
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
        """Take work that has not begun out of the queue."""
        if work.encoded.cancel():
            with self._changed:
                if work in self._waiting:
                    self._waiting.remove(work)
                    self.queued_texts -= len(work.texts)

    def _serve(self) -> None:
        """The worker thread."""
        while self._serve_next():
            pass

    def _serve_next(self) -> bool:
        """Wait for the next work and answer it, whatever happens; False when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return False
            work = self._waiting.popleft()
            self.queued_texts -= len(work.texts)
        if work.encoded.set_running_or_notify_cancel():
            try:
                work.encoded.set_result(self._encode(work))
            except BaseException as error:
                work.encoded.set_exception(error)
        return True

    def _encode(self, work: _Work) -> Encoded:
        """The vectors of one request's distinct texts."""
        if work.deadline is not None and time.monotonic() > work.deadline:
            raise _too_late()
        encoder = self._encoders.load(work.name)
        begun = time.monotonic()
        batches = [[text] for text in work.texts] if work.alone else [work.texts]
        encoded = [encoder.encode(batch, work.precision, work.long_text) for batch in batches or [[]]]
        self._seconds_per_text = (time.monotonic() - begun) / max(len(work.texts), 1)
        return Encoded(
            np.concatenate([one.vectors for one in encoded]), np.concatenate([one.truncated for one in encoded])
        )


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded(
        "the encoder was busy until the deadline had passed; nothing changed",
        remedy="send again, allow more time (X-Request-Timeout-Ms), or send fewer texts at once",
    )


def _closing() -> Unavailable:
    return Unavailable("the service is shutting down", remedy="send again once it is back", retry_after=1)
