"""The machine's settings: command line > environment (`MEMR_` + field name) > default. A run's are `RunConfig`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from memr_client.schemas import PresetName
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Bounds = tuple[float, float]
"""Beyond the first: warn; beyond the second: alarm. Where the second is the smaller, beyond means below."""


class Thresholds(BaseModel):
    """When an audit fires. `MEMR_AUDITS` sets some of them as JSON: {"window": 4096, "length_short": [0.6, 0.4]}."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: int = 2048
    """Completions in the stretch that is looked at, and in the one it is compared with."""
    least: int = 512
    """Fewer completions say nothing."""
    outcome_gain: float = 0.05
    """An outcome that rose by less did not rise."""
    repeats_gain: float = 0.1
    """Repeats whose share rose by less were there from the first."""
    recognised: float = 0.2
    """Completions that found their prompt less often above chance, at first, cannot forget it."""
    reward_mode: Bounds = (0.25, 0.5)
    length_short: Bounds = (0.7, 0.5)
    length_long: Bounds = (1.5, 2.0)
    truncation: Bounds = (0.25, 0.5)
    component_share: Bounds = (0.75, 0.9)
    memory_share: Bounds = (0.5, 0.75)
    auc_leak: Bounds = (0.98, 0.99)
    auc_inverted: Bounds = (0.35, 0.25)
    diversity: Bounds = (0.7, 0.5)
    repeated_failures: Bounds = (0.5, 0.75)
    template: Bounds = (0.7, 0.5)
    explore_drift: Bounds = (0.5, 1.0)
    zero_variance: Bounds = (0.75, 0.9)


class Settings(BaseSettings):
    """Everything a server needs to know that is not part of a run."""

    model_config = SettingsConfigDict(env_prefix="MEMR_", extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """Address to listen on. Anything but loopback needs API keys (or `insecure`)."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    address: str = ""
    """Where other services over the same store reach this one, as http://host:port; `memr serve` knows it as a rule."""
    insecure: bool = False
    """Serve beyond loopback without keys. Everybody who reaches the port can then read and write every run."""
    keys_file: Path | None = None
    """JSON file of API keys: [{"name", "scope": read|write|admin, "sha256", "runs": prefix}] (`memr key` makes one)."""

    store: str = "sqlite:///memr-data"
    """`sqlite:///relative/dir`, `sqlite:////absolute/dir`, `memory:` (nothing outlives the process), or one that
    several services share: `redis://host:6379/0`, `redis+cluster://`, `redis+sentinel://` (rediss: with TLS)."""
    text_quota_bytes: Annotated[int, Field(ge=0)] = 1 << 30
    """Room for texts; the oldest go first. 0 keeps none."""
    text_max_age_days: Annotated[float, Field(gt=0)] = 90
    """Texts older than this are removed."""
    snapshot_bytes: Annotated[int, Field(ge=1 << 16)] = 64 << 20
    """A snapshot is taken after so many bytes of journal, or an eighth of the last one's if that is more (bounds the
    time a restart takes)."""
    journal_bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes of journal a run keeps; older records are dropped, but never past the oldest checkpoint. 0 keeps all."""
    answer_hours: Annotated[float, Field(ge=24)] = 48
    """How long the answer to a request id is kept, in hours."""
    idle_minutes: Annotated[float, Field(gt=0)] = 60
    """A run that gave no rewards for so long leaves memory when another is asked for; it is read again when needed."""

    encoder: str = "all-MiniLM-L6-v2"
    """The default encoder: `hashed`, or a sentence-transformers model by name or folder."""
    encoders: Annotated[tuple[str, ...], NoDecode] = ("hashed",)
    """Further encoders that a run may ask for (comma-separated in the environment)."""
    preload: bool = True
    """Load the default encoder at start, in the background; otherwise when it is first needed."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes the GPU only if it has 4 GiB free: it may share the card with a sampler."""

    default_preset: PresetName = "guarded"
    """The preset of runs that are created without one."""
    auto_create: bool = True
    """Create an unknown run on its first training request; otherwise 404."""

    max_body_bytes: Annotated[int, Field(ge=1024)] = 128 << 20
    """Largest request body, counted as it arrives, and again after unpacking."""
    max_items: Annotated[int, Field(ge=1)] = 16_384
    """Most completions in one request."""
    max_text_chars: Annotated[int, Field(ge=1)] = 1_000_000
    """Longest single prompt or completion, in characters."""
    max_queue_texts: Annotated[int, Field(ge=1)] = 65_536
    """Texts waiting for the encoder; beyond it requests are refused with 503 and Retry-After."""
    deadline_s: Annotated[float, Field(gt=0)] = 300
    """A request not begun within this time is answered 504 (a caller may ask for less: X-Request-Timeout-Ms)."""
    drain_s: Annotated[float, Field(ge=0)] = 30
    """On SIGTERM: how long requests in flight may take to finish."""
    audits: Thresholds = Thresholds()
    """When a diagnostic warns or alarms, and over how many completions it looks (JSON in the environment)."""
    run_label: bool = False
    """Label metrics with the run's name (many runs make many series)."""

    @field_validator("encoders", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @property
    def allowed_encoders(self) -> tuple[str, ...]:
        """The allow-list, the default first."""
        return (self.encoder, *(name for name in self.encoders if name != self.encoder))
