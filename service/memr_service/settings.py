"""The settings of a server: command line > environment (`MEMR_` + field name) > default.

A run's settings are its `RunConfig`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from memr_client.schemas import PresetName
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Bounds = tuple[float, float]
"""An audit warns beyond the first and alarms beyond the second. Beyond means below if the second is smaller."""


class Thresholds(BaseModel):
    """When audits warn and alarm. `MEMR_AUDITS` is a JSON object of the fields to change.

    MEMR_AUDITS='{"window": 4096, "length_short": [0.6, 0.4]}'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # What is compared
    window: int = 2048
    """Completions in a stretch: the newest ones are compared with the run's first ones."""
    least: int = 512
    """If the newest stretch has fewer completions, every audit is `unknown`."""
    outcome_gain: float = 0.05
    """If the mean outcome rose by at least this much, changes count as learning and not as collapse."""
    repeats_gain: float = 0.1
    """`repeated_failures` is ok if its share rose by less than this since the first completions."""
    recognised: float = 0.2
    """`template` is unknown if the first completions found their own prompt less often than this, above chance."""

    # One pair for each audit: warn, alarm
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
    """Everything that a server needs to know and that does not belong to a run."""

    model_config = SettingsConfigDict(env_prefix="MEMR_", extra="forbid", frozen=True)

    # Address and access
    host: str = "127.0.0.1"
    """Address to listen on. Any address but loopback needs API keys (or `insecure`)."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on."""
    address: str = ""
    """URL at which other services on the same store reach this one, http://host:port. `memr serve` fills it in."""
    insecure: bool = False
    """Listen beyond loopback without API keys. Everyone who reaches the port can then read and change every run."""
    keys_file: Path | None = None
    """JSON file of API keys: [{"name", "scope": read|write|admin, "sha256", "runs": prefix}] (`memr key` makes one)."""

    # Store
    store: str = "sqlite:///memr-data"
    """`sqlite:///relative/dir`, `sqlite:////absolute/dir`, `memory:` (nothing is kept after the process ends), or a
    store that several services share: `redis://host:6379/0`, `redis+cluster://`, `redis+sentinel://` (rediss: with
    TLS)."""
    text_quota_bytes: Annotated[int, Field(ge=0)] = 1 << 30
    """Size of the stored texts; the oldest are removed first. 0 stores no texts."""
    text_max_age_days: Annotated[float, Field(gt=0)] = 90
    """Texts older than this are removed."""
    snapshot_bytes: Annotated[int, Field(ge=1 << 16)] = 64 << 20
    """A snapshot of a run is taken after this many bytes of journal, or after an eighth of the last snapshot's size if
    that is more. It bounds how long a restart takes."""
    journal_bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes of journal that a run keeps. Older records are removed, but never past the oldest checkpoint. 0 keeps all
    records."""
    answer_hours: Annotated[float, Field(ge=24)] = 48
    """How long the response to a request id is kept, in hours."""
    idle_minutes: Annotated[float, Field(gt=0)] = 60
    """A run that gave no rewards for this long is removed from memory when another run is opened. It is read again when
    it is needed."""

    # Encoder
    encoder: str = "all-MiniLM-L6-v2"
    """The default encoder: `hashed`, or the name or the folder of a sentence-transformers model."""
    encoders: Annotated[tuple[str, ...], NoDecode] = ("hashed",)
    """Other encoders that a run may name (separated by commas in the environment)."""
    preload: bool = True
    """Load the default encoder in the background at the start; otherwise when it is first needed."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where encoders run. `auto` takes the GPU only if it has 4 GiB free, because a sampler may use it too."""

    # New runs
    default_preset: PresetName = "guarded"
    """The preset of runs that name none."""
    auto_create: bool = True
    """Create an unknown run at its first training request; otherwise that request gets a 404."""

    # Limits
    max_body_bytes: Annotated[int, Field(ge=1024)] = 128 << 20
    """Largest request body, checked while it arrives and again after unpacking."""
    max_items: Annotated[int, Field(ge=1)] = 16_384
    """Most completions in one request."""
    max_text_chars: Annotated[int, Field(ge=1)] = 1_000_000
    """Longest prompt or completion, in characters."""
    max_queue_texts: Annotated[int, Field(ge=1)] = 65_536
    """Most texts that wait for the encoder. Further requests get a 503 with Retry-After."""
    deadline_s: Annotated[float, Field(gt=0)] = 300
    """A request that has not begun within this many seconds gets a 504. A caller may ask for less with
    X-Request-Timeout-Ms."""
    drain_s: Annotated[float, Field(ge=0)] = 30
    """After SIGTERM, how many seconds requests in flight may take to finish."""

    # Monitoring
    audits: Thresholds = Thresholds()
    """When audits warn and alarm, and how many completions they look at (JSON in the environment)."""
    run_label: bool = False
    """Label metrics with the run's name. Many runs then make many time series."""

    @field_validator("encoders", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @property
    def allowed_encoders(self) -> tuple[str, ...]:
        """The encoders that a run may name, the default first."""
        return (self.encoder, *(name for name in self.encoders if name != self.encoder))
