"""`RunConfig`: every setting of a run."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SerializeAsAny, ValidationError, field_validator, model_validator

from memr_client.schemas.components import COMPONENTS, Component, ComponentName, Gates
from memr_client.schemas.planning import PriorRuns
from memr_client.schemas.wire import Cosine, Count, Finite, Options, Share, Spread, Whole, Wire, under, unfit

PresetName = Literal[
    "memory-r+", "memory-r", "official-memory-r+", "official-memory-r", "attempts", "guarded", "random", "shuffled"
]


# The schema states these two limits, and the service refuses new runs beyond them. Parsing does not: older runs go on.
MOST_IN_GROUP = 65_536
"""Most completions in a group of a new run."""
MOST_TAG_CHARS = 256
"""Longest reasoning tag of a new run, in characters."""

Tag = Annotated[str, Field(json_schema_extra={"maxLength": MOST_TAG_CHARS})]


class WriteGates(Gates):
    """Limits on what the memory stores. Completions that are not stored are scored like all others."""

    drop_truncated: bool = False
    """Do not store successes that the trainer sent as `truncated`."""
    agreement: bool = False
    """Store a success only if a sibling gave the same answer. Needs `answers` and whole groups in one request."""


class MemoryQuality(Options):
    """What the memories store and for how long. By default every completion is an entry and the oldest leaves first."""

    merge_similarity: Cosine | None = None
    """A completion with at least this cosine to an entry of its prompt raises that entry's count instead of being
    stored."""
    decay_steps: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    """tau: an entry weighs exp(-age / tau). Its age is the number of steps since it was stored or last repeated."""
    max_age: Count | None = None
    """Remove entries older than this many steps."""
    eviction: Literal["fifo", "value"] = "fifo"
    """Entry that leaves a full prompt: the oldest (`fifo`), or the one with the least count * exp(-age / tau)
    (`value`)."""
    gates: WriteGates = WriteGates()
    """Which completions are not stored."""

    @property
    def curates(self) -> bool:
        """Whether entries are merged, aged or evicted by value. Gates alone do not need such bookkeeping."""
        return (self.merge_similarity, self.decay_steps, self.max_age, self.eviction) != (None, None, None, "fifo")


class Repair(Options):
    """When the answers of earlier visits overrule a prompt's reference, and what happens then.

    An answer is favoured if more completions of the newest visit gave it than any other, and if it was so in more of
    the last 15 visits than any other. Where it is not the reference, was never judged right, passes all gates below,
    and nobody has decided about the prompt, the prompt is repaired. Only what was known before the visit counts.

    Repair(mode="replace", visits=4, share=0.0, margin=None, trend=0.05)    # the rule of OLR (arXiv 2604.03993)
    """

    mode: Literal["mask", "replace"] = "mask"
    """`mask`: nothing is learned from the prompt: its outcomes and rewards are 0, it is neither remembered nor counted
    in pass rates. `replace`: the outcome is 1 for completions that give the favoured answer, 0 for others."""
    visits: Annotated[int, Field(ge=1, le=15, strict=True), Whole] = 2
    """Fewest earlier visits, of the last 15."""
    share: Share = 0.7
    """Least share of the completions of these visits that gave the favoured answer."""
    margin: Share | None = 0.5
    """Least difference between this share and that of any other answer, the reference among them. Null: any."""
    trend: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False, strict=True)] | None = None
    """Least slope, over these visits, of the share that gave the visit's most frequent answer: least squares, per
    visit. Null: any."""
    prior_run_agrees: bool = False
    """One of `prior_runs` must have given the favoured answer more often than any other."""


PATTERN = "a regular expression with one group, around the question"

EXTRACTIONS = ("numeric", "boxed")
BY_PATTERN = "pattern:"
"""What an `extract` by a regular expression begins with."""
EXTRACTION = "numeric, boxed, a tag such as <answer>, or pattern:REGEX with one group"

DEFAULT_COMPONENTS: dict[ComponentName, float | Component] = {"exploit": 1.0, "explore": 1.0}
"""Memory-R+."""


class RunConfig(Wire):
    """Every setting of a run. Unset fields come from the preset. The run's first record freezes the resolved config.

    RunConfig()                                  # the server's default preset
    RunConfig(preset="memory-r+")                # Memory-R+ as in the paper
    RunConfig(preset="memory-r", k=20)           # exploit only, 20 nearest prompts
    RunConfig(components={"exploit": 2.0})       # replaces all components of the preset
    """

    preset: PresetName = "attempts"
    """Named settings that unset fields come from; `GET /presets` lists their values. Without a preset, the server's
    `MEMR_DEFAULT_PRESET` applies. The defaults below are those of `memory-r+`."""
    k: Annotated[int, Field(ge=1, le=10_000, strict=True), Whole] = 1
    """K: number of nearest stored prompts whose completions are read."""
    max_prompts: Annotated[int, Field(ge=1, le=100_000_000, strict=True), Whole] = 100_000
    """N: most prompts in a memory. Beyond it, the prompt that was stored first leaves."""
    max_completions: Annotated[int, Field(ge=1, le=65_536, strict=True), Whole] = 100
    """L: most completions under a prompt. Beyond it, the prompt's oldest completion leaves."""
    window: Annotated[int, Field(ge=1, le=1_000_000, strict=True), Whole] = 100
    """w: number of past raw values that scale a component."""
    scaling: Literal["item", "request"] = "item"
    """`item`: scale each value by the window that ends with it (the paper). `request`: scale all values of a request by
    one window."""
    center: Literal["none", "group"] = "none"
    """`group`: subtract the group's mean from each component's scaled values."""
    success_threshold: Finite = 0.5
    """Completions with a higher outcome are stored as successes."""
    failure_threshold: Finite = 0.5
    """Completions with this outcome or a lower one are stored as failures. Outcomes between the thresholds are not
    stored."""
    components: dict[ComponentName, Finite | SerializeAsAny[Component]] = Field(
        default_factory=lambda: DEFAULT_COMPONENTS.copy(), min_length=1
    )
    """Component name -> weight, or an object with the weight and options. Replaces the preset's components whole, with
    their guards, bounds and tails."""
    explore_warmup_prompts: Count = 0
    """explore is off while the failure memory holds fewer prompts."""
    explore_warmup_steps: Count = 50
    """explore is off until this many steps have been committed."""
    max_spread: Spread | None = None
    """Largest spread of a group's rewards, as a share of the spread of its outcomes. Where all outcomes of a group are
    equal, its rewards are equal too, unless `equal_spread` is set."""
    spread_of: Literal["outcomes", "verdicts"] = "outcomes"
    """What `max_spread` is a share of. `outcomes`: the highest outcome of the group minus the lowest. `verdicts`: in a
    group with right and wrong completions (`success_threshold`), the lowest outcome of a right one minus the highest of
    a wrong one, so that with a share below 1 no reward puts a wrong completion above a right one; `outcomes` in others.
    """
    equal_spread: Spread | None = None
    """Largest spread of the rewards of a group whose outcomes are all equal, which scales them towards 0. Null: what
    `max_spread` makes of them."""
    min_similarity: Cosine | None = None
    """Do not read prompts with a lower cosine. The same prompt is always read."""
    memory: MemoryQuality = MemoryQuality()
    """What the memories store and for how long."""
    order: Literal["hold_one_out", "read_first", "official"] = "hold_one_out"
    """Order of reading and writing within a request. `hold_one_out`: write all, then read without one entry per item.
    `read_first`: read all, then write. `official`: item by item, write then read; only in the official presets."""
    barrier: Literal["none", "step", "group", "snapshot"] = "none"
    """Which requests are scored together. `none`: each alone. `step`: all ranks of a step. `group`: all completions of
    a group. `snapshot`: each at once, against the memory at the arrival of its group's first item; the group is stored
    when it is complete."""
    group_size: Annotated[int, Field(ge=1, strict=True, json_schema_extra={"maximum": MOST_IN_GROUP}), Whole] | None = (
        None
    )
    """G: completions per prompt and step, at most 65,536. Barriers `group` and `snapshot` need it."""
    barrier_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60
    """Seconds after which a barrier scores the requests that have arrived, without the missing ones."""
    encoder: Annotated[str, Field(min_length=1, max_length=256, strict=True)] | None = None
    """A name from the server's allow-list. Null: the server's default when the run is created."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic that encodes completions; prompts are always encoded in float32. `auto` is bfloat16 if the server
    measures that it is faster and agrees to a cosine of 0.9999. The run keeps the choice made at its creation."""
    deterministic: bool = False
    """Encode each text alone, so that its embedding depends on nothing else. Server-encoded rewards are then bit-equal
    in a retry, in a replay, and for any cut of a step into parts. Much slower on a GPU."""
    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True), Whole] = 0
    """Seed of all random numbers in the run."""
    verifier: Literal["exact", "numeric", "math"] | None = None
    """Verifier that computes outcomes from labels (`POST /openrlhf/{run_id}`, `POST /nemo-gym/{run_id}/verify`). Null:
    the caller sends outcomes. An outcome is recorded when it is computed: replays and `memr verify` do not judge again.
    """
    memory_weight: Finite = 1.0
    """Factor of the memory's reward where the service returns outcome + memory_weight * reward."""
    prompt_pattern: Annotated[str, Field(min_length=1, max_length=500, strict=True)] | None = None
    """Regular expression that finds the question in a prompt rendered by a chat template (`POST /openrlhf/{run_id}`).
    Its one group is the question, for example `<\\|im_start\\|>user\\n(.*?)<\\|im_end\\|>`. `.` matches any character.
    The last match counts."""
    extract: Annotated[str, Field(min_length=1, max_length=500, strict=True)] | None = None
    """How the service finds the final answer of a completion that comes without one in `answers`. `numeric`: its final
    number. `boxed`: what its last `\\boxed` holds. A tag such as `<answer>`: what stands in its last pair.
    `pattern:REGEX`: the one group of the last match; `.` matches any character. Null: only answers that are sent
    count."""
    unit: Literal["whole", "turn"] = "whole"
    """What of a completion that is a chat is one item. `whole`: all that the assistant says in it. `turn`: each message
    of the assistant. A turn is compared with the turns in its place of other completions of its prompt: the last turns
    with each other, and the first, the second and so on. `k` is then 1."""
    combine_turns: Literal["mean", "last"] = "mean"
    """What a completion gets with unit `turn`: the `mean` of its turns' rewards, or the reward of the `last` turn."""
    reasoning_tags: tuple[Tag, Tag] | None = None
    """[open, close]: encode only a completion's text between these tags, each of at most 256 characters."""
    long_text: Literal["truncate", "windows", "auto"] = "truncate"
    """How to encode a text that is longer than the encoder's limit. `truncate`: its beginning. `windows`: the mean over
    all its windows. `auto`: the mean of two full windows, one at the beginning and one at the end."""
    storage: Literal["float32", "float16"] = "float32"
    """Precision of embeddings. They are rounded on receipt."""
    repair: Repair | None = None
    """Overrule references that the answers of earlier visits contradict; `references` and answers must be sent or
    found. Null: outcomes count as they are sent."""
    prior_runs: PriorRuns | None = None
    """Earlier runs whose pass rates, answers and decisions this one starts from: names, or objects with `run`, `weight`
    and `at`. What they know is copied when the run is created, so nothing that happens to them later changes it."""
    store_text: bool = True
    """Keep texts in the side store, for explanations and the dashboard."""

    @field_validator("components", mode="before")
    @classmethod
    def _options_fit_their_component(cls, components: Any) -> Any:
        if not isinstance(components, dict):
            return components
        if len(components) > len(get_args(ComponentName)):
            raise ValueError(f"{len(components)} components, but there are {len(get_args(ComponentName))}")
        return {name: _options(name, given) if isinstance(given, dict) else given for name, given in components.items()}

    @field_validator("reasoning_tags")
    @classmethod
    def _tags_are_two_texts(cls, tags: tuple[str, str] | None) -> tuple[str, str] | None:
        if tags is not None and (not tags[0] or not tags[1] or tags[0] == tags[1]):
            raise unfit(
                "reasoning_tags must be two different, non-empty tags", list(tags), "two different, non-empty tags"
            )
        return tags

    @field_validator("prompt_pattern")
    @classmethod
    def _pattern_has_one_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            _require_one_group("prompt_pattern", pattern, "the question", PATTERN)
        return pattern

    @field_validator("extract")
    @classmethod
    def _extraction_is_known(cls, extract: str | None) -> str | None:
        if extract is None or extract in EXTRACTIONS or re.fullmatch(r"<[A-Za-z][\w.-]*>", extract):
            return extract
        if not extract.startswith(BY_PATTERN):
            raise unfit("extract is none of the ways to find an answer", extract[:80], EXTRACTION)
        _require_one_group("extract", extract.removeprefix(BY_PATTERN), "the answer", EXTRACTION)
        return extract

    @model_validator(mode="after")
    def _is_coherent(self) -> RunConfig:
        if self.failure_threshold > self.success_threshold:
            raise unfit(
                f"failure_threshold {self.failure_threshold} is above success_threshold {self.success_threshold}: "
                "an outcome between them would be both",
                self.failure_threshold,
                f"at most success_threshold, {self.success_threshold:g}",
            )
        if self.repair is not None and self.repair.prior_run_agrees and not self.prior_runs:
            raise unfit(
                "repair.prior_run_agrees needs prior_runs, one of which agrees",
                {"prior_run_agrees": True, "prior_runs": None},
                "at least one prior run",
            )
        if self.repair is not None and self.repair.mode == "replace" and not self._judges_by_one_and_zero:
            raise unfit(
                "repair with mode 'replace' sets outcomes of 1 and 0, of which success_threshold "
                f"{self.success_threshold:g} and failure_threshold {self.failure_threshold:g} do not make a success "
                "and a failure",
                {"success_threshold": self.success_threshold, "failure_threshold": self.failure_threshold},
                "0 <= failure_threshold, success_threshold < 1",
                "Send outcomes between 0 and 1, or mask.",
            )
        if self.barrier in ("group", "snapshot") and self.group_size is None:
            raise unfit(
                f"barrier {self.barrier!r} needs group_size: how many completions a group has",
                {"barrier": self.barrier, "group_size": None},
                f"group_size of 1 to {MOST_IN_GROUP}",
                "Set group_size to the number of completions that the trainer samples for one prompt.",
            )
        return self

    @property
    def _judges_by_one_and_zero(self) -> bool:
        return self.failure_threshold >= 0 and self.success_threshold < 1

    @property
    def prompts_read(self) -> int:
        """K, the item's own prompt included; 0 if only that is read, because other prompts hold turns in other places,
        of the same completion too."""
        return self.k if self.unit == "whole" else 0

    @property
    def weights(self) -> dict[str, float]:
        """Component -> its weight, in the config's order."""
        return {
            name: given.weight if isinstance(given, Component) else float(given)
            for name, given in self.components.items()
        }


def _require_one_group(field: str, pattern: str, around: str, limit: str) -> None:
    """Raise unless a field's pattern is a regular expression with one group."""
    try:
        groups = re.compile(pattern, re.DOTALL).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise unfit(f"{field} is not a regular expression: {error}", pattern[:80], limit) from None
    if groups != 1:
        raise unfit(f"{field} has {groups} groups, but needs one: (...) around {around}", pattern[:80], limit)


def _options(name: str, given: dict[str, Any]) -> Component:
    try:
        return COMPONENTS.get(name, Component).model_validate(given)
    except ValidationError as error:
        raise under(name, error) from None
