"""The settings of a server: command line > environment (`MEMR_` + field name) > default.

A run's settings are its `RunConfig`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from memr_client.errors import InvalidRequest
from memr_client.schemas import PresetName, nearest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

CLIENT_VARIABLES = ("API_KEY", "EQUAL_SPREAD", "GROUP_SIZE", "PATIENCE_S", "RUN", "TIMEOUT", "URL", "WEIGHT")
"""Variables that begin with MEMR_ and belong to clients and trainers. `MEMR_PRESET`, an option under verl, is left out:
who sets it for a service means `MEMR_DEFAULT_PRESET`."""

Bounds = tuple[float, float]
"""An audit warns beyond the first and alarms beyond the second. Beyond means below if the second is smaller."""


class Thresholds(BaseModel):
    """When audits warn and alarm. `MEMR_AUDITS` is a JSON object of the fields to change.

    MEMR_AUDITS='{"window": 4096, "length_short": [0.6, 0.4]}'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # What is compared
    window: Annotated[int, Field(ge=1)] = 2048
    """Completions in a stretch: the newest ones are compared with the run's first ones."""
    least: Annotated[int, Field(ge=1)] = 512
    """If the newest stretch has fewer completions, every audit is `unknown`."""
    outcome_gain: float = 0.05
    """If the mean outcome rose by at least this much, changes count as learning and not as collapse."""
    repeats_gain: float = 0.1
    """`repeated_failures` is ok if its share rose by less than this since the first completions."""
    recognised: float = 0.2
    """`template` is unknown if the first completions found their own prompt less often than this, above chance."""
    least_groups: Annotated[int, Field(ge=1)] = 200
    """`plan_calibration` is unknown if the last 64 records visited fewer prompts again than this."""

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
    plan_calibration: Bounds = (0.1, 0.15)


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
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """More names by which the server is reached, separated by commas: `memr.example.org`, `.example.org` for all names
    that end so, `*` for any. Without API keys only these are answered, and addresses, localhost and names without a
    dot; with keys and an empty list, any name is."""
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
    default_preset: PresetName = "attempts"
    """The preset of runs that name none."""
    auto_create: bool = True
    """Create an unknown run at its first training request; otherwise that request gets a 404."""

    # Limits
    max_body_bytes: Annotated[int, Field(ge=1024)] = 128 << 20
    """Largest request body, checked while it arrives and again after unpacking. Reading it takes at most 40 MiB of
    memory for each MiB. Whatever its size, it may hold 262,144 lists and objects, 1,048,576 texts and 16,777,216 values
    in all. Bodies above 256 KiB are read one after another."""
    max_arrived_bytes: Annotated[int, Field(ge=1024)] = 128 << 20
    """Most bytes of bodies, over all requests that are arriving or not answered yet; `max_body_bytes` if that is more.
    Beyond it, a request whose body is larger than an equal share of it gets a 503 with Retry-After."""
    max_import_bytes: Annotated[int, Field(ge=1024)] = 8 << 30
    """Largest file that can be imported as a run. Files that are being imported are kept in TMPDIR (/tmp), and take at
    most this much room there together."""
    max_items: Annotated[int, Field(ge=1)] = 16_384
    """Most completions in one request."""
    max_text_chars: Annotated[int, Field(ge=1)] = 1_000_000
    """Longest prompt or completion, in characters."""
    max_queue_texts: Annotated[int, Field(ge=1)] = 65_536
    """Most texts that wait for the encoder. Further requests get a 503 with Retry-After."""
    max_waiting_bytes: Annotated[int, Field(ge=1 << 20)] = 256 << 20
    """Most memory, in bytes, of the requests that wait at barriers. Beyond it those that have waited longest get a 503
    with Retry-After."""
    deadline_s: Annotated[float, Field(gt=0)] = 300
    """A request that has not begun within this many seconds gets a 504. A caller may ask for less with
    X-Request-Timeout-Ms."""
    scoring_s: Annotated[float, Field(gt=0)] = 2
    """Longest, in seconds of one core, that scoring one request may take by the server's estimate, since other runs
    wait meanwhile. A larger request gets a 413, and a new run for which one group over full memories would take longer
    gets a 422."""
    verifier_s: Annotated[float, Field(gt=0, le=120)] = 30
    """How many seconds a run's verifier may take for the completions of one OpenRLHF request, from its arrival. What is
    not judged by then counts as wrong, and the response says so. OpenRLHF gives up after 180 s, which also have to hold
    the wait at a barrier."""
    text_s: Annotated[float, Field(gt=0, le=120)] = 10
    """How many seconds of processor time it may take to read the texts of one request, and again to measure them for
    guards: OpenRLHF's prompts are searched for `prompt_pattern`, for example. Further work is refused with a 413."""
    drain_s: Annotated[float, Field(ge=0)] = 30
    """After SIGTERM, how many seconds requests in flight may take to finish. The process ends at most 9 seconds later;
    what is not answered by then is given up."""

    # Connections
    max_connections: Annotated[int, Field(ge=1)] = 4096
    """Most connections at a time; fewer if the system's limit on open files (`ulimit -Hn`) does not leave 256 for memr
    itself. Where one more arrives, the one whose client has sent nothing for longest is closed for it, or the one whose
    body takes longest. If all wait for their responses, the new one gets a 503 with Retry-After and is closed."""
    max_peer_connections: Annotated[int, Field(ge=1)] = 640
    """Most connections of one address (in IPv6, of one /64 network) at a time, in the same way; three quarters of
    `max_connections` if that is less. All clients behind a proxy have the proxy's address."""
    header_s: Annotated[float, Field(gt=0)] = 10
    """How many seconds a connection may take until its first request's headers are complete, and a later request from
    its first byte. Then it gets a 408, if it sent anything, and is closed. Headers may take 64 KiB."""
    body_s: Annotated[float, Field(gt=0)] = 30
    """How many seconds the server waits for the bytes of a body in all; each 64 KiB that arrive add one. Then the
    request gets a 408. Who takes nothing of a response for as long is disconnected."""

    # Monitoring
    audits: Annotated[Thresholds, NoDecode] = Thresholds()
    """When audits warn and alarm, and how many completions they look at (JSON in the environment)."""
    run_label: bool = False
    """Label metrics with the run's name. Many runs then make many time series."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_what_is_empty(cls, given: Any) -> Any:
        """An empty value counts as not set, since compose files and scripts pass on what may be unset.

        Three have a meaning: no `encoders`, all addresses of the `host`, and a `keys_file` that is refused, because a
        server must not open by mistake.
        """
        meant = ("encoders", "host", "keys_file")
        return {name: value for name, value in given.items() if value != "" or name in meant}

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, host: str) -> str:
        return host[1:-1] if host.startswith("[") and host.endswith("]") else host

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        found = re.fullmatch(r"https?://([\w.-]+|\[[\w:.%]+\])(:(?P<port>\d{1,5}))?/?", address)
        if address and (found is None or int(found["port"] or 0) > 65535):
            raise ValueError("it should be http://host:port")
        return address

    @field_validator("encoder", "encoders", "keys_file", mode="before")
    @classmethod
    def _split_and_expand(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name == "encoders" and isinstance(value, str):
            return tuple(expanded(name.strip()) for name in value.split(",") if name.strip())
        if info.field_name == "keys_file" and value == "":
            raise ValueError("it should name a file; unset it to serve without keys")
        return expanded(value) if isinstance(value, str) else value

    @field_validator("audits", mode="before")
    @classmethod
    def _read_json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            thresholds = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f'it should be a JSON object such as {{"window": 4096}} ({error})') from None
        if not isinstance(thresholds, dict):
            raise ValueError('it should be a JSON object such as {"window": 4096}')
        return thresholds

    @property
    def allowed_encoders(self) -> tuple[str, ...]:
        """The encoders that a run may name, the default first."""
        return (self.encoder, *(name for name in self.encoders if name != self.encoder))


def load(**given: Any) -> Settings:
    """The settings given, completed from the environment.

    Raises:
        InvalidRequest: a setting does not exist or its value is wrong. Only the first is named.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        raise _refused(error, given) from None


def unknown_variables(environment: Iterable[str]) -> Iterator[str]:
    """A warning for each variable that begins with MEMR_ and that nothing reads."""
    known = [name.upper() for name in (*Settings.model_fields, *CLIENT_VARIABLES)]
    for variable in sorted(environment):
        prefix, _, name = variable.upper().partition("_")
        if prefix == "MEMR" and name not in known:
            yield f"{variable} is ignored: the service has no such setting.{did_you_mean(name, known, 'MEMR_')}"


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """` Did you mean NEAREST?`, or nothing if no known name has this one as a part or resembles it."""
    names = list(known)
    whole = (one for one in names if name.lower() in re.split("[-_]", one.lower()))
    near = next(whole, None) or nearest(name, names)
    return f" Did you mean {prefix}{near}?" if near else ""


def expanded(path: str) -> str:
    """A path or a name; `~` at its beginning is the home directory, as in a shell."""
    return str(Path(path).expanduser()) if path.startswith("~") else path


def _refused(error: ValidationError, given: Mapping[str, Any]) -> InvalidRequest:
    first = error.errors(include_url=False)[0]
    setting, *inside = (str(part) for part in first["loc"])
    name = setting if setting in given else f"MEMR_{setting.upper()}"
    where = ".".join([name, *inside])
    if first["type"] == "extra_forbidden":
        known = list(Thresholds.model_fields if inside else Settings.model_fields)
        return InvalidRequest(
            f"there is no setting {where}.",
            value=where,
            limit=known,
            remedy=f"Leave it out.{did_you_mean(inside[-1] if inside else setting, known)}",
        )
    limit = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    wrong = f"{first['input']!r:.80}"
    meant = ""
    if first["type"] == "literal_error":
        meant = did_you_mean(str(first["input"]), first["ctx"]["expected"].split("'")[1::2])
    elif str(first["input"]).startswith("tcp://"):
        meant = " Kubernetes sets it beside a Service named memr, unless the pod has enableServiceLinks: false."
    return InvalidRequest(f"{where} is {wrong}: {limit}.", value=wrong, limit=limit, remedy=f"Correct {name}.{meant}")
