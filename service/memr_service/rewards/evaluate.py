"""One evaluator for each component: it gathers what the equation needs from the context and gives raw values (n,).

A raw value is NaN where the component is undefined for an item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from memr_client.schemas import BandedNovelty, ErrorCluster, Exploit, OutcomeUcb, Partition, Value

from memr_service.memory import Gathered, Reading, View
from memr_service.memory.grid import GRID, in_grid
from memr_service.memory.index import MARGINS
from memr_service.memory.neighbours import most_similar
from memr_service.memory.reading import held_items
from memr_service.rewards.components import (
    banded_novelty,
    contrast,
    error_cluster,
    exploit,
    exploit_by_centroids,
    nearest_entry,
    outcome_ucb,
    partition,
    random,
    shuffled,
    value,
)
from memr_service.rewards.components.explore import Part, novelty
from memr_service.rewards.context import ScoringContext


def evaluate_exploit(context: ScoringContext) -> np.ndarray:
    """exploit, by the number of centroids that the config names.

    One centroid of entries that all count alike is the mean of running sums, so its cost does not grow with L.
    """
    options = context.state.config.components.get("exploit")
    centroids = options.centroids if isinstance(options, Exploit) else 1
    if centroids == "all":
        return nearest_entry(_novelty(context, context.success, context.from_success))
    if centroids > 1 or context.state.config.memory.curates:
        return _exploit_by_centroids(context, centroids)
    return _exploit_by_sums(context)


def _exploit_by_sums(context: ScoringContext) -> np.ndarray:
    readings, view, none = context.from_success, context.success, np.empty(0, np.int64)
    items, held, count = (
        np.concatenate([none, *(getattr(reading, column) for reading in readings)])
        for column in ("items", "held", "counts")
    )
    which = np.repeat(np.arange(len(readings)), [len(reading.items) for reading in readings])
    sums = view.sums({prompt for reading in readings for prompt in reading.prompts})
    zero = np.zeros(context.batch.dimension)
    read = [sum((sums[prompt] for prompt in reading.prompts), zero) for reading in readings]
    total = np.array(read).reshape(-1, context.batch.dimension)[which]
    # What is held out came with the request.
    own = [reading.parts[0] if reading.parts else none for reading in readings]
    begins, out = np.cumsum([0, *map(len, own)])[:-1], np.flatnonzero(held >= 0)
    total[out] -= view.exact[~np.concatenate([none, *own])[begins[which[out]] + held[out]]]
    raw = context.undefined()
    raw[items] = exploit(context.batch.completions[items], total, count)
    return raw


def _exploit_by_centroids(context: ScoringContext, centroids: int) -> np.ndarray:
    raw, view = context.undefined(), context.success
    for reading in context.from_success:
        completions, stored = context.batch.completions[reading.items], view.vectors(reading.entries)
        raw[reading.items] = exploit_by_centroids(
            completions, stored, *view.weights(reading.entries), reading.held, centroids
        )
    return raw


def evaluate_explore(context: ScoringContext) -> np.ndarray:
    """explore; undefined while it warms up (L7)."""
    return _novelty(context, context.failure, context.from_failure if context.explore_is_on else [])


def _novelty(context: ScoringContext, view: View, readings: list[Reading]) -> np.ndarray:
    """1 - the largest cosine to what each item reads (n,).

    Several groups may read the same prompt. Prompts that the same groups read are gathered once and compared in one
    matrix product.
    """
    readers: dict[int, list[int]] = {}  # prompt -> numbers of the readings that have it
    for number, reading in enumerate(readings):
        for prompt in reading.prompts:
            readers.setdefault(prompt, []).append(number)
    shared: dict[tuple[int, ...], list[int]] = {}  # numbers of readings -> the prompts that all of them have
    for prompt, numbers in readers.items():
        shared.setdefault(tuple(numbers), []).append(prompt)
    entries, parts, start = [np.empty(0, np.int64)], [], 0
    for who, prompts in shared.items():
        columns = [view.column(prompt) for prompt in prompts]
        begins = dict(zip(prompts, np.cumsum([0, *map(len, columns)]).tolist(), strict=False))
        together = np.concatenate(columns)
        order = np.argsort(together)  # vectors are gathered fastest in the order in which they lie in memory
        position, those = start + np.argsort(order), [readings[number] for number in who]
        held = [_hidden(reading, begins, position) for reading in those]
        items = np.concatenate([reading.items for reading in those])
        parts.append(Part(items, start, start + len(together), np.concatenate(held)))
        entries.append(together[order])
        start += len(together)
    stored = Gathered(view, np.concatenate(entries))
    return novelty(context.batch.completions, stored, parts, MARGINS[context.state.config.storage])


def _hidden(reading: Reading, begins: dict[int, int], position: np.ndarray) -> np.ndarray:
    """Row of the entry that each item of a reading must not see (g,), -1 for none or one that is elsewhere.

    Args:
        begins: prompt -> its first entry among m entries; `position` (m,) says in which row each of those is.
    """
    begin = begins.get(reading.prompts[0])
    if begin is None:
        return np.full(len(reading.items), -1)
    return np.where(reading.hidden >= 0, position[begin + reading.hidden], -1)


def evaluate_error_cluster(context: ScoringContext) -> np.ndarray:
    """error_cluster, over the failures of each item's own prompt; 0 where there are none."""
    options = context.state.config.components["error_cluster"]
    assert isinstance(options, ErrorCluster)
    wrong, view = context.batch.outcomes <= context.state.config.failure_threshold, context.failure
    raw = np.zeros(len(context.batch))
    for reading in context.from_failure:
        own = view.find(context.batch.keys[int(reading.items[0])])
        if own is not None and own in reading.prompts[:1]:
            entries = np.array(view.entries(own), np.int64)
            count, fade = view.weights(entries) if reading.units is not None else (None, None)
            raw[reading.items] = error_cluster(
                context.batch.completions[reading.items],
                view.vectors(entries),
                reading.held,
                wrong[reading.items],
                count,
                fade,
                alpha=options.alpha,
                beta=options.beta,
                similarity=options.similarity,
            )
    return raw


def evaluate_banded_novelty(context: ScoringContext) -> np.ndarray:
    """banded_novelty, among siblings."""
    options = context.state.config.components["banded_novelty"]
    assert isinstance(options, BandedNovelty)
    return banded_novelty(context.batch.completions, context.batch.group, context.right(), flat=options.flat)


def evaluate_contrast(context: ScoringContext) -> np.ndarray:
    """contrast, between the means of everything stored in either memory, without the entry held out."""
    success_mean, successes = _means(context, context.success)
    failure_mean, failures = _means(context, context.failure)
    return contrast(context.batch.completions, success_mean, failure_mean, (successes > 0) & (failures > 0))


def _means(context: ScoringContext, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Mean of all completions stored except the one held out for each item (n, d), and how many those are (n,)."""
    keys, completions = context.batch.keys, context.batch.completions
    held = held_items(view, keys) if context.hold_one_out else np.full(len(keys), -1)
    count = view.completion_count - (held >= 0)
    seen = view.total() - np.where(held[:, None] >= 0, in_grid(completions[np.maximum(held, 0)]), 0)
    return seen / GRID / np.maximum(count, 1)[:, None], count


def evaluate_value(context: ScoringContext) -> np.ndarray:
    """value, of the most similar completions in both memories, whatever their prompts are."""
    options, batch = context.state.config.components["value"], context.batch
    assert isinstance(options, Value)
    found = [
        most_similar(
            view,
            batch.completions,
            held_items(view, batch.keys) if context.hold_one_out else np.full(len(batch), -1),
            batch.outcomes,
            options.neighbours,
        )
        for view in (context.success, context.failure)
    ]
    similarity, outcome = (np.concatenate(columns, axis=1) for columns in zip(*found, strict=True))
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : options.neighbours]
    return value(
        np.take_along_axis(similarity, nearest, axis=1),
        np.take_along_axis(outcome, nearest, axis=1),
        temperature=options.temperature,
    )


def evaluate_outcome_ucb(context: ScoringContext) -> np.ndarray:
    """outcome_ucb, from the run's counts of answers and those of the batch; undefined where no answer was sent.

    With `hold_one_out` the whole batch counts, otherwise the item itself.
    """
    options, batch = context.state.config.components["outcome_ucb"], context.batch
    assert isinstance(options, OutcomeUcb)
    answers = batch.answers or [None] * len(batch)
    pairs = [(key, answer) for key, answer in zip(batch.keys, answers, strict=True) if answer is not None]
    in_batch = Counter(pairs) if context.hold_one_out else {}
    seen = [
        np.nan if answer is None else context.state.times_given(answer, key) + in_batch.get((key, answer), 1)
        for key, answer in zip(batch.keys, answers, strict=True)
    ]
    return outcome_ucb(np.array(seen), baseline=options.baseline)


def evaluate_partition(context: ScoringContext) -> np.ndarray:
    """partition, by the labels that were sent, otherwise by cosines."""
    options, batch = context.state.config.components["partition"], context.batch
    assert isinstance(options, Partition)
    label = None
    if batch.labels is not None:
        numbers: dict[str, int] = {}
        names = [-1 if name is None else numbers.setdefault(name, len(numbers)) for name in batch.labels]
        label = np.array(names)
    return partition(
        label, batch.completions, batch.group, batch.outcomes, similarity=options.similarity, floor=options.floor
    )


def evaluate_random(context: ScoringContext) -> np.ndarray:
    """random, a control: numbers that do not depend on the completions."""
    return random(context.state.config.seed, context.state.serial + np.arange(len(context.batch)))


def evaluate_shuffled(context: ScoringContext) -> np.ndarray:
    """shuffled, a control: the batch's exploit values, each given to another item."""
    return shuffled(evaluate_exploit(context), context.state.config.seed, context.state.position)


EVALUATORS: dict[str, Callable[[ScoringContext], np.ndarray]] = {
    "exploit": evaluate_exploit,
    "explore": evaluate_explore,
    "error_cluster": evaluate_error_cluster,
    "banded_novelty": evaluate_banded_novelty,
    "contrast": evaluate_contrast,
    "value": evaluate_value,
    "outcome_ucb": evaluate_outcome_ucb,
    "partition": evaluate_partition,
    "random": evaluate_random,
    "shuffled": evaluate_shuffled,
}
"""Component -> its evaluator."""
