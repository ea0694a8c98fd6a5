"""memr under Ray Serve: the same app over Redis, its encoder in replicas of their own that come and go with the work.

    MEMR_STORE=redis://HOST:6379/0 MEMR_INSECURE=1 serve run memr_service.app.ray:application

or `serve deploy examples/ray/serve.yaml`. Encoding is nearly all of memr's work, so that one replica of the app feeds
many of the encoder; more of the app are for when one is lost. `/metrics` speaks for the replica that answers it.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from memr_client.errors import MemrError, ProblemError, Unavailable
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from memr_service.app import create_app
from memr_service.encoder import Encoded, Encoder, Encoders
from memr_service.engine.service import Service
from memr_service.settings import Settings
from memr_service.store import open_store

PIECE = 64
"""Texts that go to one replica of the encoder at a time."""
AT_ONCE = 4096
"""Requests in one replica of the app: those that wait at a barrier count, and cost nothing."""


class Scale(BaseModel):
    """What Ray decides with: `args` in Serve's config file, or NAME=VALUE after `serve run`. All else is `Settings`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: int = Field(default=1, ge=1)
    """Replicas of the app. Each may serve any run, and holds those it was asked for in memory."""
    min_encoders: int = Field(default=1, ge=1)
    """Replicas of the encoder that are always there."""
    max_encoders: int = Field(default=4, ge=1)
    """Replicas of the encoder at the most."""
    encoder_cpus: float = Field(default=1, ge=0)
    """Cores for each replica of the encoder."""
    encoder_gpus: float = Field(default=0, ge=0)
    """GPUs for each replica of the encoder; a fraction shares one."""


def application(scale: Scale) -> Application:
    """What `serve run` and Serve's config files deploy. Its settings are the environment's, wherever replicas run.

    Raises:
        MemrError: the store is not one that replicas share, or whoever reaches the cluster could call.
    """
    settings = Settings()
    _refuse_what_no_replica_can_serve(settings)

    def app() -> object:
        """Called in each replica of the app."""
        encoders = RemoteEncoders(settings.allowed_encoders, serve.get_deployment_handle("Encoding"))
        store = open_store(settings.store, settings.answer_hours)
        return create_app(settings, Service(settings, store, encoders))

    encoding = serve.deployment(
        max_ongoing_requests=2,  # one is encoded, the next has arrived
        autoscaling_config={
            "min_replicas": scale.min_encoders,
            "max_replicas": max(scale.min_encoders, scale.max_encoders),
            "target_ongoing_requests": 1,
        },
        ray_actor_options={"num_cpus": scale.encoder_cpus, "num_gpus": scale.encoder_gpus},
    )(Encoding)
    rewards = serve.deployment(
        name="Rewards",
        num_replicas=scale.replicas,
        max_ongoing_requests=AT_ONCE,
        graceful_shutdown_timeout_s=settings.drain_s,
    )(serve.ingress(app)())
    return rewards.bind(encoding.bind(settings.allowed_encoders, settings.device, settings.preload))


class Encoding:
    """A replica of the encoder: the server's allow-list, loaded where the replica is."""

    def __init__(self, allowed: Sequence[str], device: str, preload: bool) -> None:
        self._encoders = Encoders(allowed, device)
        self._one_at_a_time = threading.Lock()
        if preload:
            self._encoders.load(self._encoders.default)

    def encode(self, name: str, texts: Sequence[str], precision: str, long_text: str) -> Encoded:
        """As `Encoder.encode`."""
        with self._one_at_a_time:
            return self._encoders.load(name).encode(texts, precision, long_text)

    def describe(self, name: str) -> dict[str, Any]:
        """What else an `Encoder` has."""
        with self._one_at_a_time:
            encoder = self._encoders.load(name)
        return {known: getattr(encoder, known) for known in ("dimension", "device", "max_length", "precision")}


class RemoteEncoder:
    """An encoder as the app sees it: its texts go out in pieces, to as many replicas of `Encoding` as there are."""

    dimension: int
    device: str
    max_length: int | None
    precision: str

    def __init__(self, name: str, encoding: "DeploymentHandle[Encoding]") -> None:
        self.name = name
        self._encoding = encoding
        with _as_problems():
            vars(self).update(encoding.describe.remote(name).result())

    def encode(self, texts: Sequence[str], precision: str = "float32", long_text: str = "truncate") -> Encoded:
        """As `Encoder.encode`; called from a thread, for it waits."""
        pieces = [texts[at : at + PIECE] for at in range(0, len(texts), PIECE)] or [texts]
        asked = [self._encoding.encode.remote(self.name, piece, precision, long_text) for piece in pieces]
        with _as_problems():
            encoded: list[Encoded] = [answer.result() for answer in asked]
        return Encoded(
            np.concatenate([one.vectors for one in encoded]), np.concatenate([one.truncated for one in encoded])
        )


class RemoteEncoders(Encoders):
    """The allow-list of a server whose encoders are elsewhere; the models' files are here too, for the fingerprint."""

    def __init__(self, allowed: Sequence[str], encoding: "DeploymentHandle[Encoding]") -> None:
        super().__init__(allowed)
        self._encoding = encoding

    def resolve(self, name: str, precision: str) -> str:
        """As `Encoders.resolve`: `auto` is what a replica that encodes found; called from a thread."""
        return self.load(name).precision if precision == "auto" else precision

    def load(self, name: str) -> Encoder:
        """As `Encoders.load`; called from a thread, for it waits."""
        self.check(name)
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = RemoteEncoder(name, self._encoding)
            return self._loaded[name]


@contextmanager
def _as_problems() -> Iterator[None]:
    """What a replica of the encoder raised, as it raised it; what became of the replica, as `Unavailable`."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, ProblemError):
            raise error.cause from None
        raise
    except RayError as error:
        raise Unavailable(
            f"The encoder's replica did not answer: {type(error).__name__}.",
            remedy="Try again; Ray starts another.",
            retry_after=1,
        ) from error


def _refuse_what_no_replica_can_serve(settings: Settings) -> None:
    if not settings.store.startswith("redis"):
        raise MemrError(
            f"Under Ray Serve replicas come and go on any machine, and {settings.store!r} is a store of one. "
            "Name a Redis or Valkey in MEMR_STORE: redis://HOST:6379/0."
        )
    if settings.keys_file is None and not settings.insecure:
        raise MemrError(
            "Without API keys every run is open to whoever reaches the cluster's HTTP port. Name a keys file, which "
            "every machine has, in MEMR_KEYS_FILE, or allow it with MEMR_INSECURE=1."
        )
