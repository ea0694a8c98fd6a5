"""What each component needs of a batch, gathered from the two views and handed to its equation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from memr_client.schemas import BandedNovelty, Component, ErrorCluster, Exploit, OutcomeUcb, Partition, RunConfig, Value

from memr_service.memory import Gathered, Reading, View
from memr_service.memory.index import MARGINS
from memr_service.memory.memory import GRID, in_grid
from memr_service.rewards.components import (
    banded_novelty,
    contrast,
    error_cluster,
    outcome_ucb,
    partition,
    random,
    shuffled,
    value,
)
from memr_service.rewards.components.centroids import exploit_by_centroids, nearest_entry
from memr_service.rewards.components.exploit import exploit
from memr_service.rewards.components.explore import Part, novelty
from memr_service.state.record import Batch
from memr_service.state.state import State


@dataclass(frozen=True)
class ScoringContext:
    """A batch before its memories; `won` and `lost` are what its items read in either, one entry held out if `hold`."""

    state: State
    config: RunConfig
    batch: Batch
    success: View
    failure: View
    won: list[Reading]
    lost: list[Reading]
    hold: bool
    warm: bool
    """Whether explore is on."""

    def nothing(self) -> np.ndarray:
        """A column (n,) without a value."""
        return np.full(len(self.batch), np.nan)

    def nearest(self) -> dict[str, np.ndarray]:
        """Similarity of the nearest prompt read (n,), for the components whose guards ask for it."""
        prompts, found = self.batch.prompts[self.batch.prompt_of], {}
        for name, view, readings in (("exploit", self.success, self.won), ("explore", self.failure, self.lost)):
            options = self.config.components.get(name)  # type: ignore[call-overload]
            if isinstance(options, Component) and options.guards.neighbour_floor is not None:
                found[name] = view.nearest(readings, self.batch.keys, prompts)
        return found

    def right(self) -> np.ndarray:
        """Which items the success memory would take (n,)."""
        return self.batch.outcomes > self.config.success_threshold


def measure_exploit(scene: ScoringContext) -> np.ndarray:
    """Raw exploit of every item (n,), where all entries count alike from running sums: its cost then does not grow
    with L."""
    options = scene.config.components.get("exploit")
    centroids = options.centroids if isinstance(options, Exploit) else 1
    if centroids == "all":
        return nearest_entry(_novelty(scene, scene.success, scene.won))
    if centroids > 1 or scene.config.memory.curates:
        return _exploit_by_weight(scene, centroids)
    won, dimension, none = scene.won, scene.batch.dimension, np.empty(0, np.int64)
    items, held, count = (
        np.concatenate([none, *(getattr(reading, column) for reading in won)]) for column in ("items", "held", "counts")
    )
    which = np.repeat(np.arange(len(won)), [len(reading.items) for reading in won])
    sums = scene.success.sums({prompt for reading in won for prompt in reading.prompts})
    read = [sum((sums[prompt] for prompt in reading.prompts), np.zeros(dimension)) for reading in won]
    total = np.array(read).reshape(-1, dimension)[which]
    # What is held out came with the request.
    own = [reading.parts[0] if reading.parts else none for reading in won]
    begins, out = np.cumsum([0, *map(len, own)])[:-1], np.flatnonzero(held >= 0)
    total[out] -= scene.success.exact[~np.concatenate([none, *own])[begins[which[out]] + held[out]]]
    raw = scene.nothing()
    raw[items] = exploit(scene.batch.completions[items], total, count)
    return raw


def _exploit_by_weight(scene: ScoringContext, centroids: int) -> np.ndarray:
    """Raw exploit where entries have weights, or there are several centroids (n,)."""
    raw, view = scene.nothing(), scene.success
    for reading in scene.won:
        completions, stored = scene.batch.completions[reading.items], view.vectors(reading.entries)
        raw[reading.items] = exploit_by_centroids(
            completions, stored, *view.weights(reading.entries), reading.held, centroids
        )
    return raw


def measure_explore(scene: ScoringContext) -> np.ndarray:
    """Raw explore of every item (n,): one matrix product for each prompt that is read."""
    return _novelty(scene, scene.failure, scene.lost if scene.warm else [])


def _novelty(scene: ScoringContext, view: View, readings: list[Reading]) -> np.ndarray:
    """1 - the largest cosine to what each item reads (n,); a prompt that several groups read is looked at once."""
    readers: dict[int, list[int]] = {}  # prompt -> numbers of the readings
    for number, reading in enumerate(readings):
        for prompt in reading.prompts:
            readers.setdefault(prompt, []).append(number)
    together: dict[tuple[int, ...], list[int]] = {}  # prompts that the same items read
    for prompt, numbers in readers.items():
        together.setdefault(tuple(numbers), []).append(prompt)
    tables, parts, start = [np.empty(0, np.int64)], [], 0
    for who, prompts in together.items():
        columns = [view.column(prompt) for prompt in prompts]
        begins = dict(zip(prompts, np.cumsum([0, *map(len, columns)]).tolist(), strict=False))
        table = np.concatenate(columns)
        order = np.argsort(table)  # as they lie in memory they are gathered the quickest
        place, those = start + np.argsort(order), [readings[number] for number in who]
        held = [_hidden(reading, begins, place) for reading in those]
        items = np.concatenate([reading.items for reading in those])
        parts.append(Part(items, start, start + len(table), np.concatenate(held)))
        tables.append(table[order])
        start += len(table)
    stored = Gathered(view, np.concatenate(tables))
    return novelty(scene.batch.completions, stored, parts, MARGINS[scene.config.storage])


def _hidden(reading: Reading, begins: dict[int, int], place: np.ndarray) -> np.ndarray:
    """Where in a table the entry lies that each item of a reading must not see (g,), -1 for none or elsewhere.

    Args:
        begins: prompt -> its first entry, of the prompts in the table; `place` (m,) says where each entry lies now.
    """
    begin = begins.get(reading.prompts[0])
    if begin is None:
        return np.full(len(reading.items), -1)
    return np.where(reading.hidden >= 0, place[begin + reading.hidden], -1)


def measure_error_cluster(scene: ScoringContext) -> np.ndarray:
    """How many failures of its own prompt each wrong item repeats, as a penalty (n,)."""
    options = scene.config.components["error_cluster"]
    assert isinstance(options, ErrorCluster)
    wrong = scene.batch.outcomes <= scene.config.failure_threshold
    raw = np.zeros(len(scene.batch))
    for reading in scene.lost:
        own = scene.failure.find(scene.batch.keys[int(reading.items[0])])
        if own is not None and own in reading.prompts[:1]:
            entries = np.array(scene.failure.entries(own), np.int64)
            count, fade = scene.failure.weights(entries) if reading.units is not None else (None, None)
            raw[reading.items] = error_cluster(
                scene.batch.completions[reading.items],
                scene.failure.vectors(entries),
                reading.held,
                wrong[reading.items],
                count,
                fade,
                alpha=options.alpha,
                beta=options.beta,
                similarity=options.similarity,
            )
    return raw


def measure_banded_novelty(scene: ScoringContext) -> np.ndarray:
    """Novelty among siblings in bands that correctness sets (n,)."""
    options = scene.config.components["banded_novelty"]
    assert isinstance(options, BandedNovelty)
    return banded_novelty(scene.batch.completions, scene.batch.group, scene.right(), flat=options.flat)


def measure_contrast(scene: ScoringContext) -> np.ndarray:
    """Projection on the way from the run's failures to its successes (n,)."""
    (won, wins), (lost, losses) = _means(scene, scene.success), _means(scene, scene.failure)
    return contrast(scene.batch.completions, won, lost, (wins > 0) & (losses > 0))


def _means(scene: ScoringContext, view: View) -> tuple[np.ndarray, np.ndarray]:
    """For each item the mean (n, d) of all completions stored but the one held out, and how many those are (n,)."""
    keys, completions = scene.batch.keys, scene.batch.completions
    held = view.held_items(keys) if scene.hold else np.full(len(keys), -1)
    count = view.completion_count - (held >= 0)
    seen = view.total() - np.where(held[:, None] >= 0, in_grid(completions[np.maximum(held, 0)]), 0)
    return seen / GRID / np.maximum(count, 1)[:, None], count


def measure_value(scene: ScoringContext) -> np.ndarray:
    """What the completions most similar to each item have earned, whatever their prompt (n,)."""
    options, batch = scene.config.components["value"], scene.batch
    assert isinstance(options, Value)
    found = [
        view.most_similar(
            batch.completions,
            view.held_items(batch.keys) if scene.hold else np.full(len(batch), -1),
            batch.outcomes,
            options.neighbours,
        )
        for view in (scene.success, scene.failure)
    ]
    similarity, outcome = (np.concatenate(columns, axis=1) for columns in zip(*found, strict=True))
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : options.neighbours]
    return value(
        np.take_along_axis(similarity, nearest, axis=1),
        np.take_along_axis(outcome, nearest, axis=1),
        temperature=options.temperature,
    )


def measure_outcome_ucb(scene: ScoringContext) -> np.ndarray:
    """How rare each item's answer is for its prompt (n,); undefined where no answer was sent."""
    options = scene.config.components["outcome_ucb"]
    assert isinstance(options, OutcomeUcb)
    answers = scene.batch.answers or [None] * len(scene.batch)
    named = [(key, answer) for key, answer in zip(scene.batch.keys, answers, strict=True) if answer is not None]
    among = {one: named.count(one) for one in set(named)} if scene.hold else {}
    seen = [
        np.nan if answer is None else scene.state.seen(key, answer) + among.get((key, answer), 1)
        for key, answer in zip(scene.batch.keys, answers, strict=True)
    ]
    return outcome_ucb(np.array(seen), baseline=options.baseline)


def measure_partition(scene: ScoringContext) -> np.ndarray:
    """The outcome, times how few of its group say the same (n,)."""
    options, batch = scene.config.components["partition"], scene.batch
    assert isinstance(options, Partition)
    label = None
    if batch.labels is not None:
        numbers: dict[str, int] = {}
        names = [-1 if name is None else numbers.setdefault(name, len(numbers)) for name in batch.labels]
        label = np.array(names)
    return partition(
        label, batch.completions, batch.group, batch.outcomes, similarity=options.similarity, floor=options.floor
    )


def measure_random(scene: ScoringContext) -> np.ndarray:
    """A control: numbers that know nothing (n,)."""
    return random(scene.config.seed, scene.state.serial + np.arange(len(scene.batch)))


def measure_shuffled(scene: ScoringContext) -> np.ndarray:
    """A control: the batch's exploit values, each at another item's place (n,)."""
    return shuffled(measure_exploit(scene), scene.config.seed, scene.state.position)


EVALUATORS: dict[str, Callable[[ScoringContext], np.ndarray]] = {
    "exploit": measure_exploit,
    "explore": measure_explore,
    "error_cluster": measure_error_cluster,
    "banded_novelty": measure_banded_novelty,
    "contrast": measure_contrast,
    "value": measure_value,
    "outcome_ucb": measure_outcome_ucb,
    "partition": measure_partition,
    "random": measure_random,
    "shuffled": measure_shuffled,
}
