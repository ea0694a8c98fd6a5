"""memr under Ray Serve: the same app over Redis, with the encoder in separate replicas that scale with the load.

    MEMR_STORE=redis://HOST:6379/0 MEMR_INSECURE=1 serve run memr_service.app.ray:application

or `serve deploy examples/ray/serve.yaml`. Encoding is nearly all of memr's work, so one replica of the app can use many
encoder replicas; more replicas of the app only help if one is lost. `/metrics` reports one replica of the app.
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
from memr_service.settings import Settings, load
from memr_service.store import open_store
from memr_service.store.address import shown

PIECE = 64
"""Number of texts sent to one encoder replica at a time."""
MAX_REQUESTS = 4096
"""Most requests in one replica of the app. Requests waiting at a barrier count too, but cost nothing."""


class Scale(BaseModel):
    """Numbers of replicas: `args` in Serve's config file, or NAME=VALUE after `serve run`. The rest is `Settings`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: int = Field(default=1, ge=1)
    """Replicas of the app. Each can serve any run, and keeps the runs it has served in memory."""
    min_encoders: int = Field(default=1, ge=1)
    """Fewest encoder replicas."""
    max_encoders: int = Field(default=4, ge=1)
    """Most encoder replicas."""
    encoder_cpus: float = Field(default=1, ge=0)
    """Cores per encoder replica."""
    encoder_gpus: float = Field(default=0, ge=0)
    """GPUs per encoder replica; a fraction shares a GPU."""


def application(scale: Scale) -> Application:
    """The application that `serve run` and Serve's config files deploy. Settings come from the environment.

    Raises:
        MemrError: the store cannot be shared by replicas, or there are no API keys and `insecure` is not set.
    """
    settings = load()
    _check(settings)

    def app() -> object:
        """Create the app; called in each of its replicas."""
        encoders = RemoteEncoders(settings.allowed_encoders, serve.get_deployment_handle("Encoding"))
        store = open_store(settings.store, settings.answer_hours)
        return create_app(settings, Service(settings, store, encoders))

    encoding = serve.deployment(
        max_ongoing_requests=2,  # one is encoded while the next arrives
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
        max_ongoing_requests=MAX_REQUESTS,
        graceful_shutdown_timeout_s=settings.drain_s,
    )(serve.ingress(app)())
    return rewards.bind(encoding.bind(settings.allowed_encoders, settings.device, settings.preload))


ENCODER_ATTRIBUTES = ("dimension", "device", "max_length", "precision")
"""Attributes of an `Encoder` that `RemoteEncoder` copies from a replica."""


class Encoding:
    """An encoder replica: loads the allowed encoders on the replica's machine."""

    def __init__(self, allowed: Sequence[str], device: str, preload: bool) -> None:
        self._encoders = Encoders(allowed, device)
        self._one_at_a_time = threading.Lock()
        if preload:
            self._encoders.load(self._encoders.default)

    def encode(self, name: str, texts: Sequence[str], precision: str, long_text: str) -> Encoded:
        """Like `Encoder.encode`."""
        with self._one_at_a_time:
            return self._encoders.load(name).encode(texts, precision, long_text)

    def describe(self, name: str) -> dict[str, Any]:
        """The encoder's other attributes."""
        with self._one_at_a_time:
            encoder = self._encoders.load(name)
        return {attribute: getattr(encoder, attribute) for attribute in ENCODER_ATTRIBUTES}


class RemoteEncoder:
    """An encoder that sends its texts in pieces to the replicas of `Encoding`."""

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
        """Like `Encoder.encode`. It blocks, so call it in a thread."""
        pieces = [texts[at : at + PIECE] for at in range(0, len(texts), PIECE)] or [texts]
        pending = [self._encoding.encode.remote(self.name, piece, precision, long_text) for piece in pieces]
        with _as_problems():
            encoded: list[Encoded] = [one.result() for one in pending]
        return Encoded(
            np.concatenate([one.vectors for one in encoded]), np.concatenate([one.truncated for one in encoded])
        )


class RemoteEncoders(Encoders):
    """The allowed encoders of a server that encodes in replicas. The models' files must be here too, for the
    fingerprint."""

    def __init__(self, allowed: Sequence[str], encoding: "DeploymentHandle[Encoding]") -> None:
        super().__init__(allowed)
        self._encoding = encoding

    def resolve(self, name: str, precision: str) -> str:
        """Like `Encoders.resolve`; a replica decides what `auto` means. It blocks, so call it in a thread."""
        return self.load(name).precision if precision == "auto" else precision

    def _make(self, name: str) -> Encoder:
        return RemoteEncoder(name, self._encoding)


@contextmanager
def _as_problems() -> Iterator[None]:
    """Raise an encoder replica's problem unchanged, and a lost replica as `Unavailable`."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, ProblemError):
            raise error.cause from None
        raise
    except RayError as error:
        raise Unavailable(
            f"The encoder replica did not respond: {type(error).__name__}.",
            remedy="Try again; Ray starts another replica.",
            retry_after=1,
        ) from error


def _check(settings: Settings) -> None:
    if not settings.store.startswith("redis"):
        raise MemrError(
            f"Under Ray Serve replicas run on any machine, but {shown(settings.store)!r} is a store of one machine. "
            "Set MEMR_STORE to a Redis or Valkey server: redis://HOST:6379/0."
        )
    if settings.keys_file is None and not settings.insecure:
        raise MemrError(
            "Without API keys everyone who reaches the cluster's HTTP port has access to all runs. Set MEMR_KEYS_FILE "
            "to a keys file that exists on every machine, or allow it with MEMR_INSECURE=1."
        )
