"""What a run is."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from memr_client.schemas.components import COMPONENTS, Component, ComponentName, Gates
from memr_client.schemas.wire import Cosine, Count, Finite, Options, Wire

PresetName = Literal[
    "memory-r+", "memory-r", "official-memory-r+", "official-memory-r", "guarded", "random", "shuffled"
]


class WriteGates(Gates):
    """What keeps completions out of the memory. They are scored all the same."""

    drop_truncated: bool = False
    """Store no success that the trainer sent as `truncated`."""
    agreement: bool = False
    """Store a success only where a sibling gave the same answer. Needs `answers`, and whole groups."""


class MemoryQuality(Options):
    """What a memory holds, and for how long. All off: every completion is an entry, and the oldest leave first."""

    merge_similarity: Cosine | None = None
    """A completion at least this similar to an entry of its prompt raises that entry's count and is not stored."""
    decay_steps: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    """tau: an entry weighs exp(-age / tau), age being the steps since it was stored or last repeated."""
    max_age: Count | None = None
    """Entries older than so many steps leave."""
    eviction: Literal["fifo", "value"] = "fifo"
    """Where there is no room, the oldest leaves; or the one with the least count * exp(-age / tau)."""
    gates: WriteGates = WriteGates()

    @property
    def curates(self) -> bool:
        """Whether entries are counted, aged or chosen: gates alone only keep some out."""
        return (self.merge_similarity, self.decay_steps, self.max_age, self.eviction) != (None, None, None, "fifo")


DEFAULT_COMPONENTS: dict[ComponentName, float | Component] = {"exploit": 1.0, "explore": 1.0}
"""Memory-R+."""


class RunConfig(Wire):
    """What a run is. Fields left out come from the preset; the resolved whole is frozen when the run is created.

    RunConfig()                                  # the server's default preset
    RunConfig(preset="memory-r+")                # Memory-R+ as in the paper
    RunConfig(preset="memory-r", k=20)           # exploit only, 20 nearest prompts
    RunConfig(components={"exploit": 2.0})       # replaces the preset's components as a whole
    """

    preset: PresetName = "guarded"
    """The named settings everything else starts from (`GET /presets` spells them out). Where none is given the server
    decides (`MEMR_DEFAULT_PRESET`); the defaults below are those of `memory-r+`."""
    k: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 1
    """K: how many of the nearest stored prompts a read takes completions from."""
    max_prompts: Annotated[int, Field(ge=1, le=100_000_000, strict=True)] = 100_000
    """N: prompts a memory holds; beyond it the prompt stored first leaves."""
    max_completions: Annotated[int, Field(ge=1, le=65_536, strict=True)] = 100
    """L: completions a prompt holds; beyond it its oldest leaves."""
    window: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] = 100
    """w: how many past raw values a component is scaled by."""
    scaling: Literal["item", "request"] = "item"
    """`item`: each value by the window that ends with it (the paper). `request`: a request's values by one window."""
    center: Literal["none", "group"] = "none"
    """`group` subtracts the group's mean from the scaled values of each component."""
    success_threshold: Finite = 0.5
    """Outcomes above it are stored as successes."""
    failure_threshold: Finite = 0.5
    """Outcomes at or below it are stored as failures; between the two nothing is stored."""
    components: dict[ComponentName, Finite | SerializeAsAny[Component]] = Field(
        default_factory=lambda: DEFAULT_COMPONENTS.copy(), min_length=1
    )
    """Component name -> weight, or an object with the weight and options."""
    explore_warmup_prompts: Count = 0
    """explore is off while the failure memory holds fewer prompts than this."""
    explore_warmup_steps: Count = 50
    """explore is off until this many steps have been committed."""
    max_spread: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)] | None = None
    """Within a group, rewards spread at most by this share of what outcomes do (0: not where all are equal)."""
    min_similarity: Cosine | None = None
    """Neighbouring prompts less similar than this are not read (the same prompt always is). Off by default."""
    memory: MemoryQuality = MemoryQuality()
    """What the memories hold, and for how long."""
    order: Literal["hold_one_out", "read_first", "official"] = "hold_one_out"
    """How reading and writing of one request interleave; `official` belongs to the official presets."""
    barrier: Literal["none", "step", "group", "snapshot"] = "none"
    """Which requests are answered together: each alone, the ranks of a step, or all completions of a group.
    `snapshot` never waits: a group's items are scored as of its first one's arrival, and stored when it is complete."""
    group_size: Annotated[int, Field(ge=1, strict=True)] | None = None
    """G: completions per prompt and step, where a barrier needs to know."""
    barrier_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60
    """After so many seconds a barrier answers with what is there."""
    encoder: Annotated[str, Field(min_length=1, max_length=256, strict=True)] | None = None
    """A name from the server's allow-list; null takes the server's default and freezes it."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic in which completions are encoded; prompts are in float32 always. `auto` is bfloat16 where the server
    finds that faster and equal to a cosine of 0.9999; what it means when the run is created, the run keeps."""
    deterministic: bool = False
    """Encode each text by itself, so that its embedding depends on nothing else: server-encoded rewards are then
    bit-equal in a retry, on a replay, and however a step is cut into parts. A GPU is then far slower."""
    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = 0
    """Seed of everything random in the run."""
    verifier: Literal["exact", "numeric", "math"] | None = None
    """Who judges a completion where the service itself must; null: the caller sends outcomes."""
    memory_weight: Finite = 1.0
    """Where the service returns outcome + memory_weight * reward."""
    prompt_pattern: Annotated[str, Field(min_length=1, max_length=500, strict=True)] | None = None
    """Where prompts come in a chat template's dress (`POST /openrlhf/{run_id}`): a regular expression, its one group
    the question, as `<\\|im_start\\|>user\\n(.*?)<\\|im_end\\|>`. `.` is any character; the last match counts."""
    reasoning_tags: tuple[str, str] | None = None
    """[open, close]: only the completion's text between these tags is encoded."""
    long_text: Literal["truncate", "windows", "auto"] = "truncate"
    """Texts longer than the encoder reads: cut; or encoded in windows whose mean is taken; or `auto`: the mean of two
    full windows, one at the head and one at the tail, where a reasoning's conclusion stands."""
    storage: Literal["float32", "float16"] = "float32"
    """Precision of embeddings, from receipt on."""
    store_text: bool = True
    """Keep the texts in the side store, for explanations and plots."""

    @field_validator("components", mode="before")
    @classmethod
    def _options_are_the_components(cls, components: Any) -> Any:
        if not isinstance(components, dict):
            return components
        return {
            name: COMPONENTS.get(name, Component).model_validate(given) if isinstance(given, dict) else given
            for name, given in components.items()
        }

    @field_validator("reasoning_tags")
    @classmethod
    def _tags_are_two_texts(cls, tags: tuple[str, str] | None) -> tuple[str, str] | None:
        if tags is not None and (not tags[0] or not tags[1] or tags[0] == tags[1]):
            raise ValueError(f"reasoning_tags must be two different, non-empty tags, not {list(tags)}")
        return tags

    @field_validator("prompt_pattern")
    @classmethod
    def _pattern_has_one_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern, re.DOTALL).groups
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"prompt_pattern is not a regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"prompt_pattern has {groups} groups, but needs one: (...) around the question")
        return pattern

    @model_validator(mode="after")
    def _is_coherent(self) -> RunConfig:
        if self.failure_threshold > self.success_threshold:
            raise ValueError(
                f"failure_threshold {self.failure_threshold} is above success_threshold {self.success_threshold}: "
                "an outcome between them would be both"
            )
        if self.barrier in ("group", "snapshot") and self.group_size is None:
            raise ValueError(f"barrier {self.barrier!r} needs group_size: how many completions a group has")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Component -> its weight, in the config's order."""
        return {
            name: given.weight if isinstance(given, Component) else float(given)
            for name, given in self.components.items()
        }
