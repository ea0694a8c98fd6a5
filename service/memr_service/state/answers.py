"""Answers: what the completions of each prompt answered, beside the answer that the data set calls right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice
from typing import Any, NamedTuple

import msgpack
import numpy as np

from memr_service.state.packed import packed, unpacked
from memr_service.state.pass_rates import KEY_BYTES, NO_STEP, TEXT_BYTES
from memr_service.state.record import Batch

MOST_PROMPTS = 200_000
"""Most prompts with answers. Beyond it, the prompt that was visited longest ago is forgotten."""
MOST_ANSWERS = 32
"""Most answers of a prompt. Further ones are not counted until its next visit, before which the rarest leave."""
KEPT_ANSWERS = 16
"""So many answers of a prompt stay when the rarest leave."""
MOST_VISITS = 16
"""So many last visits of a prompt are kept apart."""
MOST_EARLIER = 8
"""Most answers of a prompt that are taken over from one earlier run."""
MOST_CHARS = 200
"""Characters of an answer. Of a longer one, the beginning and a digest are kept."""
UNPACKED = 2048
"""So many of the prompts visited last are held as objects, of some kilobytes each; all others as bytes, which take a
tenth of that."""

_DIGEST_BYTES = 8
_NO_TEXT = bytes(TEXT_BYTES)


def canonical(answer: str | None) -> str | None:
    """An answer as it is counted: without white space around it, and with single spaces inside."""
    if answer is None or (answer.isalnum() and len(answer) <= MOST_CHARS):
        return answer
    said = " ".join(answer.split())
    if len(said) <= MOST_CHARS:
        return said
    digest = hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{said[: MOST_CHARS - 2 * _DIGEST_BYTES - 1]}…{digest}"


class Tally(NamedTuple):
    """How often one answer was given to a prompt. It is held as a list of these, which MessagePack reads fastest."""

    answer: str
    number: int
    """The answer's number among the prompt's."""
    times: int
    """How many completions gave it."""
    visits: int
    right: int
    """Completions with an outcome above `success_threshold`, since the reference last changed."""
    wrong: int
    """The others since then."""
    serial: int
    """Serial number of the newest completion that gave it."""


NUMBER, TIMES, VISITS, RIGHT, WRONG, SERIAL = range(1, 7)
"""Places in the list of a `Tally`."""


class Visit(NamedTuple):
    """One visit: its step, its completions (those without an answer included), and how many gave each answer."""

    step: int
    size: int
    counts: dict[str, int]


class Given(NamedTuple):
    """One answer that an earlier run gave: the number of the run, and how many completions and visits gave it."""

    run: int
    answer: str
    times: int
    visits: int


@dataclass(slots=True)
class Prompt:
    """What is known of one prompt."""

    text: bytes = _NO_TEXT
    """SHA-256 of its whole text; zeros if that is not known."""
    name: str | None = None
    """Its id, as it was sent."""
    reference: str | None = None
    """The right answer as the data set has it; the newest counts."""
    changes: int = 0
    """How often the reference changed."""
    visits: int = 0
    step: int = NO_STEP
    """The step of the newest visit."""
    size: int = 0
    """Completions of the newest visit."""
    now: dict[int, int] = field(default_factory=dict)
    """Answers of the newest visit: number -> completions."""
    past: list[bytes] = field(default_factory=list)
    """The visits before it, each as MessagePack of (step, size, answers as `now`)."""
    earlier: list[Any] = field(default_factory=list)
    """What earlier runs gave: lists of the fields of `Given`."""
    _tallies: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def tallies(self) -> list[Tally]:
        """Its answers, by number."""
        return [Tally(*one) for one in self._tallies.values()]

    def begin(self, step: int) -> None:
        """Begin a visit."""
        if self.visits:
            self.past.append(self._newest())
            del self.past[: 1 - MOST_VISITS]
        if len(self._tallies) >= MOST_ANSWERS:
            self._drop_rarest()
        self.visits += 1
        self.step, self.size, self.now = step, 0, {}

    def add(self, answers: Sequence[str | None], right: Sequence[bool], serial: int) -> None:
        """Count completions of the newest visit.

        Args:
            answers: what each answers (n). right: whether each is right (n). serial: the first one's serial number.
        """
        self.size += len(answers)
        tallies, now = self._tallies, self.now
        for at, (answer, is_right) in enumerate(zip(answers, right, strict=True), serial):
            if answer is None:
                continue
            tally = tallies.get(answer)
            if tally is None:
                if len(tallies) >= MOST_ANSWERS:
                    continue
                tally = tallies[answer] = [answer, len(tallies), 0, 0, 0, 0, 0]
            number = tally[NUMBER]
            if number in now:
                now[number] += 1
            else:
                now[number] = 1
                tally[VISITS] += 1
            tally[TIMES] += 1
            tally[RIGHT if is_right else WRONG] += 1
            tally[SERIAL] = at

    def refer(self, reference: str) -> None:
        """Take a reference. Verdicts that an earlier one led to no longer count."""
        if self.reference is not None:
            self.changes += 1
            for tally in self._tallies.values():
                tally[RIGHT] = tally[WRONG] = 0
        self.reference = reference

    def _drop_rarest(self) -> None:
        ordered = sorted(self._tallies.values(), key=lambda one: (-one[TIMES], one[NUMBER]))
        kept = sorted(ordered[:KEPT_ANSWERS], key=lambda one: int(one[NUMBER]))
        numbers = {tally[NUMBER]: number for number, tally in enumerate(kept)}
        for number, tally in enumerate(kept):
            tally[NUMBER] = number
        self._tallies = {tally[0]: tally for tally in kept}
        for place, (step, size, counts) in enumerate(map(_unpack, self.past)):
            kept_counts = {numbers[old]: count for old, count in counts.items() if old in numbers}
            self.past[place] = _pack((step, size, kept_counts))

    def _newest(self) -> bytes:
        return _pack((self.step, self.size, self.now))

    def all_visits(self) -> list[Visit]:
        """The last visits, oldest first. Answers that are no longer kept count as none."""
        names = [*self._tallies]
        return [
            Visit(step, size, {names[number]: count for number, count in counts.items()})
            for step, size, counts in map(_unpack, [*self.past, self._newest()] if self.visits else [])
        ]

    def pack(self) -> bytes:
        """It as bytes, of which `unpack` makes an equal one."""
        heads = self.text, self.name, self.reference, self.changes, self.visits, self.step, self.size
        tallies = [*self._tallies.values()]
        return _pack((*heads, self.now, self.past, self.earlier, tallies))

    @classmethod
    def unpack(cls, data: bytes) -> Prompt:
        """The prompt that `pack` made bytes of."""
        fields = _unpack(data)
        fields[-1] = {one[0]: one for one in fields[-1]}
        return cls(*fields)


_pack: Callable[[Any], bytes] = msgpack.packb
_unpack: Callable[[bytes], Any] = partial(msgpack.unpackb, strict_map_key=False)


@dataclass(frozen=True)
class EarlierRun:
    """A run whose answers were taken over: its name, its right completions and all, over all its prompts."""

    name: str
    right: float
    n: float


class Answers:
    """Answers by prompt. Prompts are in the order of their last visits, the oldest first.

    A visit is what it is for pass rates: all completions of a prompt with one step; without steps, `group_size`
    completions of the prompt in a row, or all of its completions in one record.
    """

    def __init__(self, threshold: float, group_size: int | None) -> None:
        self._threshold = threshold
        self._group_size = group_size
        self._prompts: dict[bytes, bytes | Prompt] = {}
        self._objects: dict[bytes, Prompt] = {}  # of them, those that are held as objects
        self._earlier: dict[bytes, bytes] = {}  # key -> text, of prompts that only earlier runs have visited
        self._by_text: dict[bytes, bytes] = {}  # text -> key, of the same
        self.runs: list[EarlierRun] = []
        """Earlier runs, by the numbers that `Given` names."""

    def __len__(self) -> int:
        return len(self._prompts)

    def before(self, key: bytes, step: int | None) -> tuple[Prompt, list[Visit]] | None:
        """A prompt, and its last visits before the one that a request of this step belongs to; None if there are none.

        They are the same for all parts of a visit. At most MOST_VISITS - 1, oldest first.
        """
        if key not in self._prompts or key in self._earlier:
            return None
        held = self._prompts[key]
        prompt = Prompt.unpack(held) if isinstance(held, bytes) else held
        visits = prompt.all_visits()
        if not self._begins(prompt, step, goes_on=False):
            visits = visits[:-1]
        return (prompt, visits[1 - MOST_VISITS :]) if visits else None

    # Changes

    def follow(self, batch: Batch, position: int, first_serial: int) -> None:
        """Do what the record at `position` of a journal says; without steps, its position is kept as the step."""
        if batch.prior_answers is not None:
            self.start_from(**batch.prior_answers)
        if batch.forget is not None:
            self.forget(**batch.forget)
        self.count(batch, position, first_serial)

    def count(self, batch: Batch, now: int, first_serial: int) -> None:
        """Count the answers of a record, and take its references.

        Args:
            now: the step under which a visit is kept if the record names none.
        """
        n = len(batch)
        if batch.answers is None and batch.references is None:
            return
        answers, references = batch.answers or [None] * n, batch.references or [None] * n
        right, visit = (batch.outcomes > self._threshold).tolist(), now if batch.step is None else batch.step
        begun: set[bytes] = set()
        start = 0
        for key, same in groupby(batch.keys):
            first, start = start, start + len([*same])
            reference = next((one for one in reversed(references[first:start]) if one is not None), None)
            if reference is None and key not in self._prompts and _are_none(answers[first:start]):
                continue
            prompt = self._visited(key, batch, first)
            if reference is not None and reference != prompt.reference:
                prompt.refer(reference)
            while first < start:
                if self._begins(prompt, batch.step, key in begun):
                    prompt.begin(visit)
                begun.add(key)
                end = start
                if batch.step is None and self._group_size is not None:
                    end = min(start, first + self._group_size - prompt.size)
                prompt.add(answers[first:end], right[first:end], first_serial + first)
                first = end
        self._pack_all_but(UNPACKED)

    def start_from(self, packed: np.ndarray) -> None:
        """Take over what earlier runs know, before anything was visited (`packed_earlier`)."""
        runs, prompts = unpacked(packed)
        self.runs = [EarlierRun(*one) for one in runs]
        for key, text, name, reference, given in prompts[-MOST_PROMPTS:]:
            self._prompts[key] = Prompt(text, name, reference, earlier=given).pack()
            self._earlier[key] = text
            if any(text):
                self._by_text[text] = key

    def forget(self, keys: np.ndarray) -> None:
        """Forget prompts (k, 16)."""
        for key in keys:
            self._drop(key.tobytes())

    def _begins(self, prompt: Prompt, step: int | None, goes_on: bool) -> bool:
        """Whether the next completion of a prompt begins a visit. `goes_on`: others in its record came before it."""
        if step is not None:
            return not prompt.visits or prompt.step != step
        if not prompt.visits or self._group_size is not None:
            return not prompt.visits or prompt.size >= (self._group_size or 0)
        return not goes_on

    def _visited(self, key: bytes, batch: Batch, item: int) -> Prompt:
        """A prompt that is visited now, which becomes the last in the order of visits."""
        text = _NO_TEXT if batch.texts is None else batch.texts[item].tobytes()
        if key in self._earlier:
            theirs = self._earlier.pop(key)
            self._by_text.pop(theirs, None)
            if any(theirs) and any(text) and theirs != text:
                self._drop(key)  # theirs is another prompt of that id
        elif self._by_text and key not in self._prompts and (other := self._by_text.pop(text, None)) is not None:
            del self._earlier[other]
            self._prompts[key] = self._prompts.pop(other)
            if (held := self._objects.pop(other, None)) is not None:
                self._objects[key] = held
        if key not in self._prompts and len(self._prompts) >= MOST_PROMPTS:
            self._drop(next(iter(self._prompts)))
        prompt = self._object(key) if key in self._prompts else Prompt()
        self._prompts.pop(key, None)
        self._objects.pop(key, None)
        self._prompts[key] = self._objects[key] = prompt
        if any(text):
            prompt.text = text
        if batch.prompt_ids is not None and (name := batch.prompt_ids[item]) is not None:
            prompt.name = name
        return prompt

    def _object(self, key: bytes) -> Prompt:
        held = self._prompts[key]
        if isinstance(held, bytes):
            held = self._prompts[key] = self._objects[key] = Prompt.unpack(held)
        return held

    def _drop(self, key: bytes) -> None:
        self._by_text.pop(self._earlier.pop(key, b""), None)
        self._prompts.pop(key, None)
        self._objects.pop(key, None)

    def _pack_all_but(self, most: int) -> None:
        """Make bytes of the prompts that were held as objects first, if there are more than so many."""
        for key in [*islice(self._objects, max(0, len(self._objects) - most))]:
            self._prompts[key] = self._objects.pop(key).pack()

    # Whole

    def about(self, key: bytes) -> Prompt | None:
        """A copy of what is known of a prompt; None if no completion of it was counted."""
        held = self._prompts.get(key)
        if held is None:
            return None
        return Prompt.unpack(held if isinstance(held, bytes) else held.pack())

    def packed(self) -> dict[bytes, bytes]:
        """Key -> a prompt as bytes, in order. It is a copy."""
        for key, prompt in self._objects.items():
            self._prompts[key] = prompt.pack()
        self._objects.clear()
        return dict(self._prompts)  # type: ignore[arg-type]

    def freeze(self) -> dict[str, np.ndarray]:
        """Everything as named arrays."""
        runs = [(one.name, one.right, one.n) for one in self.runs]
        return {"packed": packed([runs, [*self._earlier.items()], [*self.packed().items()]])}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Become what `freeze` saw."""
        runs, earlier, prompts = unpacked(arrays["packed"])
        self.runs = [EarlierRun(*one) for one in runs]
        self._earlier = dict(earlier)
        self._by_text = {text: key for key, text in earlier if any(text)}
        self._prompts, self._objects = dict(prompts), {}

    def check(self) -> None:
        """Check that every prompt can be read, which `restore` does not.

        Raises:
            ValueError: one cannot be.
        """
        for key, data in self.packed().items():
            try:
                prompt = Prompt.unpack(data)
                prompt.all_visits()
                fits = prompt.pack() == data and all(_is_given(len(self.runs), *one) for one in prompt.earlier)
                fits = fits and [one.number for one in prompt.tallies] == [*range(len(prompt.tallies))]
                fits = fits and _is_prompt(0, key, prompt.text, prompt.name, prompt.reference, [])
            except Exception as error:
                raise ValueError("not the answers to a prompt") from error
            if not fits:
                raise ValueError("not the answers to a prompt")

    def digest(self) -> bytes:
        """SHA-256 of everything; no bytes if there is nothing."""
        if not self._prompts and not self.runs:
            return b""
        return hashlib.sha256(self.freeze()["packed"].data).digest()


def packed_earlier(
    runs: Sequence[EarlierRun], prompts: Sequence[tuple[bytes, bytes, str | None, str | None, Sequence[Given]]]
) -> dict[str, np.ndarray]:
    """The arguments of `Answers.start_from`.

    Args:
        prompts: of each its key, SHA-256 of its text (zeros: not known), its id, its reference, and the answers that
            earlier runs gave.
    """
    rows = [(key, text, name, reference, given) for key, text, name, reference, given in prompts]
    return {"packed": packed([[(one.name, one.right, one.n) for one in runs], rows])}


def check_earlier(array: np.ndarray) -> None:
    """Check what somebody else says that `packed_earlier` made.

    Raises:
        ValueError: `Answers.start_from` could not read it.
    """
    try:
        runs, prompts = unpacked(array)
        fits = all(_is_run(*one) for one in runs) and all(_is_prompt(len(runs), *one) for one in prompts)
    except TypeError as error:
        raise ValueError("not the answers of earlier runs") from error
    if not fits:
        raise ValueError("not the answers of earlier runs")


def _is_run(name: Any, right: Any, n: Any) -> bool:
    return isinstance(name, str) and all(type(one) in (int, float) and one >= 0 for one in (right, n))


def _is_prompt(runs: int, key: Any, text: Any, name: Any, reference: Any, given: Any) -> bool:
    return (
        _is_bytes(key, KEY_BYTES)
        and _is_bytes(text, TEXT_BYTES)
        and isinstance(name, str | None)
        and isinstance(reference, str | None)
        and all(_is_given(runs, *one) for one in given)
    )


def _is_given(runs: int, run: Any, answer: Any, count: Any, visits: Any) -> bool:
    counts = all(type(one) is int and 0 <= one < 1 << 62 for one in (count, visits))
    return counts and isinstance(answer, str) and type(run) is int and 0 <= run < runs


def _is_bytes(value: Any, length: int) -> bool:
    return isinstance(value, bytes) and len(value) == length


def _are_none(answers: Sequence[str | None]) -> bool:
    return all(one is None for one in answers)


def top(given: Sequence[Given], run: int) -> list[Given]:
    """The most frequent answers among those of one run, at most MOST_EARLIER."""
    return sorted((one for one in given if one.run == run), key=lambda one: (-one.times, one.answer))[:MOST_EARLIER]
