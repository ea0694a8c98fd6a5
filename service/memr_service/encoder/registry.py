"""The server's allow-list: which encoders a run may ask for, each loaded once."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from typing import Any

from memr_client.errors import EncoderUnusable, InvalidRequest

from memr_service.encoder import model_files
from memr_service.encoder import precision as trial
from memr_service.encoder.base import Encoder
from memr_service.encoder.hashed import SCHEME, HashedEncoder
from memr_service.encoder.sentence_transformer import SentenceEncoder

AGAIN_S = 60.0
"""Seconds after which an encoder that could not be loaded is tried again; until then its error is raised at once."""


class Encoders:
    """The encoders a server offers, the default first. Each is loaded when it is first used. Thread-safe.

    encoders = Encoders(["all-MiniLM-L6-v2", "hashed"])
    encoders.load(encoders.default).encode(["two", "texts"]).vectors        # (2, 384)
    """

    def __init__(self, allowed: Sequence[str], device: str = "auto") -> None:
        self.allowed = tuple(allowed)
        self.default = self.allowed[0]
        self._device = device
        self._loaded: dict[str, Encoder] = {}
        self._failed: dict[str, tuple[EncoderUnusable, float]] = {}
        self._loading = threading.Lock()

    def check(self, name: str) -> None:
        """Raise `InvalidRequest` unless the server offers this encoder."""
        if name not in self.allowed:
            raise InvalidRequest(
                f"The server does not offer the encoder {name!r}, only {', '.join(self.allowed)}.",
                value=name,
                limit=list(self.allowed),
                remedy="Use one that it offers, send embeddings, or name it in MEMR_ENCODERS and restart the server.",
            )

    def resolve(self, name: str, precision: str) -> str:
        """The precision that `auto` means for an encoder: what its trial found, or before the trial, will likely find.

        Raises:
            InvalidRequest, EncoderUnusable, Unavailable: as from `load`.
        """
        self.check(name)
        if precision != "auto":
            return precision
        folder = None if name == HashedEncoder.name or self.loaded(name) else model_files.find_model(name)
        return self.load(name).precision if folder is None else trial.expected(folder)

    def load(self, name: str) -> Encoder:
        """The encoder of that name, loaded; the first time this takes seconds.

        Raises:
            InvalidRequest: the server does not offer it.
            EncoderUnusable: it cannot be loaded; the error says why, and what helps. Unavailable: memory is short.
        """
        self.check(name)
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def _load(self, name: str) -> Encoder:
        """Make an encoder, or raise the error of a try that failed a short while ago."""
        error, since = self._failed.get(name, (None, 0.0))
        if error is not None and time.monotonic() - since < AGAIN_S:
            raise error
        try:
            made = self._make(name)
        except EncoderUnusable as error:
            self._failed[name] = error, time.monotonic()
            raise
        self._failed.pop(name, None)
        return made

    def _make(self, name: str) -> Encoder:
        return HashedEncoder() if name == HashedEncoder.name else SentenceEncoder(name, self._device)

    def failure(self, name: str) -> EncoderUnusable | None:
        """Why the encoder could not be loaded, if that was tried and failed."""
        error, _ = self._failed.get(name, (None, 0.0))
        return error

    def is_here(self, name: str) -> bool:
        """Whether an encoder's files are on this machine, so that loading it is likely to succeed."""
        return name == HashedEncoder.name or model_files.is_here(name)

    def loaded(self, name: str) -> bool:
        """Whether `load` would return at once."""
        return name in self._loaded

    def fingerprint(self, name: str, precision: str, long_text: str) -> dict[str, Any]:
        """What a run is bound to: encoders with equal fingerprints make equal vectors, apart from rounding.

        A model in a folder is identified by its files, without torch; a model from the hub is loaded first.

        Raises:
            InvalidRequest, EncoderUnusable, Unavailable: as from `load`.
        """
        self.check(name)
        if name == HashedEncoder.name:
            scheme = hashlib.sha256(SCHEME.encode()).hexdigest()
            known = {"kind": "hashed", "weights": scheme, "tokenizer": None, "modules": None}
            dimension, max_length = HashedEncoder.dimension, HashedEncoder.max_length
        else:
            folder = model_files.find_model(name) or model_files.hub_folder(self.load(name).name)
            known = {"kind": "sentence-transformers", **model_files.digests(folder)}
            dimension, max_length = model_files.shape(folder) or self._shape(name)
        asked = {"precision": precision, "long_text": long_text}
        return {"model": name, **known, "dimension": dimension, "max_length": max_length, **asked}

    def _shape(self, name: str) -> tuple[int, int | None]:
        """Dimension and `max_length`, of the loaded model."""
        encoder = self.load(name)
        return encoder.dimension, encoder.max_length
