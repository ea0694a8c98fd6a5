"""The wire: every body that crosses HTTP, and `RunConfig`. Both sides import these; there is no second definition."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", examples=["gsm8k-qwen-seed0"])]
"""A run's name: a letter or digit, then up to 127 letters, digits, dots, underscores or hyphens."""

RequestId = Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,128}$", examples=["step-12-rank-0"])]
"""1 to 128 printable ASCII characters."""

Count = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Cosine = Annotated[float, Field(ge=-1, le=1, strict=True)]
Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]

Matrix = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "array", "items": {"type": "number"}},
            "description": "n rows of d numbers; in MessagePack n * d * 4 bytes of little-endian float32, row-major",
        }
    ),
]
"""Embeddings on the wire. What arrives is checked where it becomes an array (`memr_service.batch`)."""

PresetName = Literal[
    "memory-r+", "memory-r", "official-memory-r+", "official-memory-r", "guarded", "random", "shuffled"
]
ComponentName = Literal[
    "exploit",
    "explore",
    "error_cluster",
    "banded_novelty",
    "contrast",
    "value",
    "outcome_ucb",
    "partition",
    "random",
    "shuffled",
]


class Wire(BaseModel):
    """What all wire types share: unknown fields are refused, values are not changed after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Told(Wire):
    """What answers share: fields that a newer service adds are passed over."""

    model_config = ConfigDict(extra="ignore")


class Message(BaseModel):
    """One chat message. Unknown keys are kept: they belong to the prompt's identity."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: Annotated[str, Field(strict=True)]
    content: Annotated[str, Field(strict=True)] | list[dict[str, Any]] | None = None
    """A text, or parts of which those with a `text` count (joined without a separator)."""

    @property
    def text(self) -> str:
        """The message's text: its content, or its text parts joined."""
        if isinstance(self.content, list):
            return "".join(part["text"] for part in self.content if isinstance(part.get("text"), str))
        return self.content or ""


Text = Annotated[str, Field(strict=True)] | list[Message]
"""A prompt or a completion: a string, or chat messages."""


Share = Annotated[float, Field(ge=0, le=1, strict=True)]


class Options(Wire):
    """Settings of which only those that say something are written: weights, and what is not the default."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in write(self).items()
            if name == "weight" or getattr(self, name) != fields[name].get_default()
        }


class Gates(Options):
    """Limits that a completion must keep, whether to be paid or to be remembered."""

    topic_floor: Cosine | None = None
    """Reject completions whose cosine to their prompt is below it: refusals, noise, answers to something else."""
    min_chars: Count | None = None
    max_chars: Count | None = None
    """Reject completions shorter or longer than this."""
    max_repetition: Share | None = None
    """Reject completions of which a larger share repeats what was said earlier in them."""
    max_copied: Share | None = None
    """Reject completions of which a larger share stands in their prompt."""
    max_foreign: Count | None = None
    """Reject completions with a longer stretch, in bytes, that has nothing in common with their prompt or any sibling.
    Looked at where a group has three completions or more."""
    drop_truncated: bool = False
    """Reject completions that the trainer sent as `truncated`."""


class ComponentGuards(Gates):
    """What keeps items from a component's reward. A rejected item has no raw value and does not move the window."""

    neighbour_floor: Cosine | None = None
    """exploit and explore: reject items whose nearest prompt in memory is less similar than this."""
    only_if: Literal["correct", "incorrect"] | None = None
    """Pay completions of this side alone, and look at no others."""
    earned_by: Literal["correct", "incorrect"] | None = None
    """Pay completions of this side alone, but measure all: nobody is rejected, and the window knows both sides."""
    mixed_groups_only: bool = False
    """Pay only in groups with both right and wrong completions."""
    cap: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)] | None = None
    """Most that the weighted value may be, as a share of |outcome|."""
    anneal: tuple[Count, Count] | None = None
    """[start, end]: the weight falls from 1 to 0 times its value between these steps."""

    @field_validator("anneal")
    @classmethod
    def _the_end_is_later(cls, anneal: tuple[int, int] | None) -> tuple[int, int] | None:
        if anneal is not None and anneal[0] >= anneal[1]:
            raise ValueError(f"anneal must be [start, end] with start before end, not {list(anneal)}")
        return anneal


class Component(Options):
    """How one reward component takes part in the sum."""

    weight: Finite = 1.0
    """Factor of the scaled value in the reward (lambda in equation 7 of the paper)."""
    bounds: Literal["min-max", "p5-p95", "rank"] = "min-max"
    """What a windowed component is scaled by: the window's ends (the paper), its 5th and 95th percentile, or ranks."""
    guards: ComponentGuards = ComponentGuards()


class Exploit(Component):
    """Options of `exploit`: being close to what worked."""

    centroids: Annotated[int, Field(ge=1, le=64, strict=True)] | Literal["all"] = 1
    """The distance counts to the nearest of so many centroids; `all`: to the nearest success itself."""


class ErrorCluster(Component):
    """Options of `error_cluster`: a wrong completion pays for the failures of its prompt that it repeats."""

    alpha: Finite = 0.1
    """What each doubling of the cluster costs, times ln 2."""
    beta: Finite = 0.2
    """Most that a completion pays."""
    similarity: Cosine = 0.9
    """Failures at least this similar are the same error."""


class BandedNovelty(Component):
    """Options of `banded_novelty`: being unlike siblings, right completions always above wrong ones."""

    flat: Annotated[float, Field(gt=0, le=2, strict=True)] = 1e-6
    """Novelties of one side that spread by less than this get that much less of their band."""


class Contrast(Component):
    """Options of `contrast`: the projection on the way from the mean of all failures to the mean of all successes."""

    window: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] = 1000
    """How many past raw values it is scaled by, in place of the run's `window`."""


class Value(Component):
    """Options of `value`: what the most similar completions of the run have earned."""

    neighbours: Annotated[int, Field(ge=1, le=1024, strict=True)] = 32
    """How many of them count."""
    temperature: Annotated[float, Field(gt=0, le=10, strict=True)] = 0.05
    """A neighbour farther by this much counts a third."""


class OutcomeUcb(Component):
    """Options of `outcome_ucb`: answers seen rarely for a prompt are worth more. Needs `answers`."""

    baseline: Finite = 0.5
    """Taken off, so that an answer seen often pays."""


class Partition(Component):
    """Options of `partition`: the outcome, times how few of the group say the same. Labels, or clusters by cosine."""

    similarity: Cosine = 0.9
    """Completions linked by at least this cosine are one class, where no `labels` are sent."""
    floor: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    """Least share of the outcome that is left."""


COMPONENTS: dict[str, type[Component]] = {
    "exploit": Exploit,
    "error_cluster": ErrorCluster,
    "banded_novelty": BandedNovelty,
    "contrast": Contrast,
    "value": Value,
    "outcome_ucb": OutcomeUcb,
    "partition": Partition,
}
"""Components with options of their own; the others have a weight."""


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
    """Arithmetic of the encoder."""
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


class Embeddings(Wire):
    """Embeddings the caller made; the service normalises the rows to unit length."""

    prompts: Matrix
    completions: Matrix


class RewardRequest(Wire):
    """`POST /reward`: n completions with their prompts and outcomes, in columns."""

    run_id: Name
    prompts: list[Text]
    completions: list[Text]
    outcomes: list[Finite]
    """R: the verifier's reward for each completion."""
    step: Count | None = None
    """The trainer's step."""
    part: Count | None = None
    """This rank, where a step's batch is spread over several."""
    parts: Annotated[int, Field(ge=1, strict=True)] | None = None
    """How many ranks there are."""
    prompt_ids: list[Annotated[str, Field(strict=True)]] | None = None
    """Identity of each prompt; the prompt itself where not sent."""
    group_ids: list[Annotated[str, Field(strict=True)]] | None = None
    """Which completions were sampled together; the prompt's identity where not sent."""
    index: list[Count] | None = None
    """Place of each completion in its group."""
    answers: list[Annotated[str, Field(strict=True)] | None] | None = None
    """The extracted final answers."""
    labels: list[Annotated[str, Field(strict=True)] | None] | None = None
    """A class for each completion, for components that compare classes."""
    truncated: list[Annotated[bool, Field(strict=True)]] | None = None
    """Whether the trainer cut the completion at its length limit."""
    request_id: RequestId | None = None
    """The same id with the same body gets the stored answer and changes nothing."""
    mode: Literal["train", "eval"] = "train"
    """`eval` reads and leaves everything untouched."""
    embeddings: Embeddings | None = None

    @model_validator(mode="after")
    def _columns_have_one_length(self) -> RewardRequest:
        n = len(self.prompts)
        columns = ("completions", "outcomes", "prompt_ids", "group_ids", "index", "answers", "labels", "truncated")
        wrong = {name: len(column) for name in columns if (column := getattr(self, name)) is not None}
        wrong = {name: length for name, length in wrong.items() if length != n}
        if wrong:
            lengths = ", ".join(f"{name} {length}" for name, length in wrong.items())
            raise ValueError(f"all columns must have the length of prompts, {n}, but {lengths}")
        if (self.part is None) != (self.parts is None):
            raise ValueError("part and parts go together: send both or neither")
        if self.part is not None and self.parts is not None and self.part >= self.parts:
            raise ValueError(f"part {self.part} of {self.parts}: parts are numbered from 0 to {self.parts - 1}")
        return self


class ComponentValues(Told):
    """One component's values for a request's items, raw and after the window."""

    raw: list[float | None]
    """Null where nothing was read."""
    scaled: list[float]


class Support(Told):
    """How many completions each item's two reads returned."""

    success: list[int]
    failure: list[int]


class Guards(Told):
    """What kept an item from part of its reward."""

    rejected: list[list[str]]
    """For each item the reasons ("component:reason"), empty where none. "memory:reason" kept it out of the memory."""


class MemorySize(Told):
    """How much a memory holds."""

    prompts: int
    completions: int


class MemorySizes(Told):
    """Both memories' sizes."""

    success: MemorySize
    failure: MemorySize


class Timing(Told):
    """Where a request's time went, in milliseconds."""

    queue: float
    encode: float
    score: float
    commit: float
    total: float


class RewardResponse(Told):
    """The answer to `POST /reward`, in the order of the request's items."""

    run_id: str
    branch: int
    position: int
    """How many records the run had after this request."""
    chain: str
    """Running SHA-256 over the records' effects (hex): equal chains, equal states."""
    rewards: list[float]
    """R_mem: the weighted sum of the scaled components."""
    components: dict[str, ComponentValues]
    support: Support
    guards: Guards
    warmup: dict[str, int]
    """Component -> what it still waits for: steps, or once those are there, failure prompts; 0 when it is on."""
    warnings: list[str]
    memory: MemorySizes
    timing_ms: Timing


class WindowState(Told):
    """A component's sliding window."""

    count: int
    min: float | None
    max: float | None


class BarrierState(Told):
    """Who waits at a run's barrier, and what went wrong there since the server started."""

    waiting: int
    """Requests that wait for others now."""
    timeouts: int
    """Rounds or groups that were answered incomplete."""
    late: int
    """Parts or members that came after that and were answered alone."""


class RunInfo(Told):
    """`GET /runs/{id}`."""

    run_id: str
    config: RunConfig
    branch: int
    position: int
    chain: str
    digest: str | None = None
    """SHA-256 over memories, windows and counters, where asked for with `?digest=1`."""
    step: int | None
    """The step of the newest record that named one."""
    memory: MemorySizes
    windows: dict[str, WindowState]
    created_at: str
    encoder: dict[str, Any] | None
    """Fingerprint of the encoder the run is bound to."""
    dimension: int | None
    """d, fixed by the first committed request."""
    barrier: BarrierState | None = None
    """Null where the run has no barrier."""


class Quantiles(Told):
    """Where values lie."""

    p5: float
    p25: float
    p50: float
    p75: float
    p95: float


class ComponentHistory(Told):
    """One component over a step."""

    defined: int
    """Items that had a raw value."""
    raw: Quantiles | None
    """Raw values: unlike the scaled ones they show drift."""
    scaled_mean: float
    scaled_std: float
    share: float
    """|weight * mean of scaled| over the sum of that over all components."""


class HistoryRow(Told):
    """One step of a run's history; a record without a step is a row of its own."""

    step: int | None
    branch: int
    """The branch of the step's last record: a restore begins a new one."""
    first_position: int
    position: int
    """The step's last record: where to go on reading."""
    at: float
    """Unix time of the last commit."""
    items: int
    groups: int
    outcome_mean: float
    zero_variance_share: float
    """Share of groups whose outcomes are all equal: plain GRPO learns nothing from them."""
    reward_mean: float
    reward_std: float
    length_mean: float
    """Characters of a completion's encoded text."""
    length: Quantiles | None
    rejected: dict[str, int]
    """"component:reason" -> items that a guard rejected; "memory:reason" -> items that a gate kept from the memory."""
    merged: dict[str, int] = {}
    """Memory -> completions that repeated an entry and raised its count."""
    support: dict[str, float]
    """Completions read, per item, from each memory."""
    components: dict[str, ComponentHistory]
    memory: MemorySizes


class History(Told):
    """`GET /runs/{id}/history`, the oldest first."""

    rows: list[HistoryRow]


class Sides(Told):
    """How many right completions, and how many wrong ones."""

    right: int
    wrong: int


class Proposal(Told):
    """What a guard's limit might be for this run, and what that would have done."""

    setting: str
    """`topic_floor` and the like, as `RunConfig` names them."""
    component: str | None = None
    """The component that it is for; null: all of them, or the run."""
    value: bool | int | float | None
    """Null: none is proposed, and `why` says why not."""
    why: str
    of: str
    """What the proposal rests on: a quantile of this,"""
    values: int
    """of so many values,"""
    quantile: float
    """so far up,"""
    at: float | None
    """which lies here."""
    rejected: Sides
    """Completions of the run that it would have rejected (`merge_similarity`: merged; warm-up: paid no explore),"""
    seen: Sides
    """of so many that were looked at."""


class Calibration(Told):
    """`GET /runs/{id}/calibrate`."""

    run_id: str
    position: int
    """The run's records up to this one were read."""
    completions: Sides
    proposals: list[Proposal]
    config: dict[str, Any]
    """The proposals as fields of a `RunConfig`, beside the components that the run has."""


class NewCheckpoint(Wire):
    """`POST /runs/{id}/checkpoints`."""

    name: Name
    step: Count | None = None
    """The trainer's step, for the record."""


class Checkpoint(Told):
    """A name for a position of a run's history."""

    name: str
    branch: int
    position: int
    step: int | None
    created_at: str


class CheckpointList(Told):
    """`GET /runs/{id}/checkpoints`, the oldest first."""

    checkpoints: list[Checkpoint]


class Restore(Wire):
    """`POST /runs/{id}/restore`."""

    checkpoint: Name


class Fork(Wire):
    """`POST /runs/{id}/fork`: copy the run under another name, as it was at the checkpoint (null: as it is)."""

    run_id: Name
    checkpoint: Name | None = None


class RunList(Told):
    """`GET /runs`."""

    runs: list[RunInfo]


class Version(Told):
    """`GET /version`."""

    version: str
    law: int
    """Version of the semantics; a run keeps the one it was created under."""
    encoder: dict[str, Any] | None
    """The default encoder's fingerprint, once it is known."""
    versions: dict[str, str]
    """Python and the libraries that take part in a reward."""


class OpenRLHFRequest(Wire):
    """`POST /openrlhf/{run_id}`: n samples as OpenRLHF sends them, mostly one; fields it may add are passed over."""

    model_config = ConfigDict(extra="ignore")

    query: list[Annotated[str, Field(strict=True)]]
    """Prompt and completion in one text, special tokens included."""
    prompts: list[Annotated[str, Field(strict=True)]]
    """The prompt of each, in the chat template's dress."""
    labels: list[Any]
    """The right answer of each, a text or a number; or `{"answer": ..., "split": "test"}`, which the memory does not
    remember (nor "eval" and "validation")."""
    outcomes: list[Finite] | None = None
    """memr's own: the outcome of each, where the caller judges; else the run's verifier does, by the labels."""
    request_id: RequestId | None = None
    """memr's own: the same id with the same body gets the stored answer."""

    @model_validator(mode="after")
    def _columns_have_one_length(self) -> OpenRLHFRequest:
        columns = {"query": self.query, "prompts": self.prompts, "labels": self.labels, "outcomes": self.outcomes}
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"all columns must have one length, but have {lengths}")
        return self


class OpenRLHFResponse(Told):
    """The answer to `POST /openrlhf/{run_id}`, in the order of the samples."""

    rewards: list[float]
    """outcome + memory_weight * memory reward."""
    scores: list[float]
    """The outcomes, by which OpenRLHF filters groups."""
    extra_logs: dict[str, list[float]]
    """The parts; always under the same names. A component's raw value is 0 where `NAME_defined` is 0."""


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    value: Any = None
    limit: Any = None
    remedy: str | None = None
    request_id: str | None = None
