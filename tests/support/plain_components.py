"""Components and guards again in plain Python: a value at a time, loops and lists, and nothing of the project.

Rows are lists of numbers, `group` a list of group numbers; nan stands for "nothing to compare with". The tests compare
the fast functions with these.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

Row = Sequence[float]
NAN = math.nan


def dot(x: Row, y: Row) -> float:
    return math.fsum(p * q for p, q in zip(x, y, strict=True))


def cosine(x: Row, y: Row) -> float:
    return dot(x, y) / math.sqrt(dot(x, x) * dot(y, y))


def siblings(item: int, group: Sequence[int]) -> list[int]:
    """The others of an item's group."""
    return [other for other, number in enumerate(group) if number == group[item] and other != item]


# components


def error_cluster(
    a: Sequence[Row],
    failures: Sequence[Row],
    held: Sequence[int],
    wrong: Sequence[bool],
    alpha: float,
    beta: float,
    similarity: float,
    count: Sequence[int] | None = None,
    fade: Sequence[float] | None = None,
) -> list[float]:
    penalties = []
    for item, row in enumerate(a):
        size = 0.0
        for place, failure in enumerate(failures):
            left = (1 if count is None else count[place]) - (place == held[item])
            if cosine(row, failure) >= similarity:
                size += left * (1.0 if fade is None else fade[place])
        penalties.append(-min(alpha * math.log(size + 1), beta) if wrong[item] else 0.0)
    return penalties


def banded_novelty(a: Sequence[Row], group: Sequence[int], right: Sequence[bool], flat: float) -> list[float]:
    u = [novelty(item, a, group, right) for item in range(len(a))]
    banded = []
    for item in range(len(a)):
        others = siblings(item, group)
        own_class = [item, *(other for other in others if right[other] == right[item])]
        if not others:
            banded.append(NAN)
        elif len(own_class) == 1:
            banded.append(1.0 if right[item] else -0.5)
        else:
            lowest, highest = min(u[other] for other in own_class), max(u[other] for other in own_class)
            if highest - lowest >= flat:
                share = (u[item] - lowest) / (highest - lowest)
            else:
                share = 0.5 + (u[item] - (lowest + highest) / 2) / flat
            banded.append((0.5 if right[item] else -1.0) + 0.5 * share)
    return banded


def novelty(item: int, a: Sequence[Row], group: Sequence[int], right: Sequence[bool]) -> float:
    others = siblings(item, group)
    same = [cosine(a[item], a[other]) for other in others if right[other] == right[item]]
    if not same:
        return NAN
    nearest = max(cosine(a[item], a[other]) for other in others)
    return 1 - (0.5 * math.fsum(same) / len(same) + 0.5 * nearest)


def contrast(a: Sequence[Row], successes: Sequence[Row], failures: Sequence[Row]) -> list[float]:
    """From the stored completions themselves, where the fast one is handed their means."""
    if not successes or not failures:
        return [NAN] * len(a)
    return [
        math.fsum(dot(row, good) for good in successes) / len(successes)
        - math.fsum(dot(row, bad) for bad in failures) / len(failures)
        for row in a
    ]


def value(similarity: Sequence[Row], outcome: Sequence[Row], temperature: float) -> list[float]:
    estimates = []
    for cosines, outcomes in zip(similarity, outcome, strict=True):
        kernel = [(math.exp(one / temperature), r) for one, r in zip(cosines, outcomes, strict=True) if one > -math.inf]
        total = sum(weight for weight, _ in kernel)
        estimates.append(sum(weight * r for weight, r in kernel) / total if kernel else NAN)
    return estimates


def outcome_ucb(answers: Sequence[str | None], history: Sequence[str], baseline: float) -> list[float]:
    """From the answers themselves; `history` are those given before to the same prompt."""
    bonuses = []
    for answer in answers:
        times = 1 + sum(earlier == answer for earlier in history)
        bonuses.append(NAN if answer is None else min(1.0, math.sqrt(1 / times)) - baseline)
    return bonuses


def partition(
    label: Sequence[int] | None,
    a: Sequence[Row],
    group: Sequence[int],
    outcome: Sequence[float],
    similarity: float,
    floor: float,
) -> list[float]:
    paid = []
    for item in range(len(a)):
        others = siblings(item, group)
        if not others or (label is not None and label[item] < 0):
            paid.append(NAN)
            continue
        if label is None:
            own_class = reached(item, a, others, similarity)
        else:
            own_class = {item, *(other for other in others if label[other] == label[item])}
        size = len(others) + 1
        paid.append(outcome[item] * max(floor, (size - len(own_class)) / (size - 1)))
    return paid


def reached(item: int, a: Sequence[Row], others: Sequence[int], similarity: float) -> set[int]:
    """The item and all of the others that steps of at least this cosine lead to."""
    found, waiting = {item}, [item]
    while waiting:
        here = waiting.pop()
        for other in others:
            if other not in found and cosine(a[here], a[other]) >= similarity:
                found.add(other)
                waiting.append(other)
    return found


def bits(keys: Sequence[int], counter: int) -> int:
    """SplitMix64 with Python's own whole numbers."""
    golden, word = 0x9E3779B97F4A7C15, 2**64

    def mix(z: int) -> int:
        z = (z + golden) % word
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % word
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % word
        return z ^ (z >> 31)

    state = 0
    for key in keys:
        state = mix((state + key) % word)
    return mix((state + counter * golden) % word)


def random(seed: int, serials: Sequence[int]) -> list[float]:
    return [(bits([seed], serial) >> 11) / 2**53 for serial in serials]


def shuffled(values: Sequence[float], seed: int, position: int) -> list[float]:
    defined = [one for one in values if not math.isnan(one)]
    order = sorted(range(len(defined)), key=lambda place: bits([seed, position], place))
    dealt = iter([defined[place] for place in order])
    return [one if math.isnan(one) else next(dealt) for one in values]


def exploit(
    a: Sequence[Row],
    b: Sequence[Row],
    count: Sequence[int],
    fade: Sequence[float],
    held: Sequence[int],
    centroids: int,
) -> list[float]:
    """Distance to the nearest weighted centroid; each item leaves out one completion of the entry it holds out."""
    label = clusters(b, [c * f for c, f in zip(count, fade, strict=True)], centroids)
    raw = []
    for item, row in enumerate(a):
        distances = []
        for cluster in range(max(label, default=-1) + 1):
            left = [(count[e] - (e == held[item])) * fade[e] if label[e] == cluster else 0.0 for e in range(len(b))]
            if any(left):
                mean = [
                    math.fsum(w * x for w, x in zip(left, xs, strict=True)) / math.fsum(left)
                    for xs in zip(*b, strict=True)
                ]
                distances.append(math.dist(row, mean))
        raw.append(-min(distances) if distances else NAN)
    return raw


def clusters(b: Sequence[Row], weight: list[float], most: int) -> list[int]:
    """Spherical k-means from farthest-first seeds, four rounds."""
    if most == 1 or len(b) < 2:
        return [0] * len(b)

    def mean(entries: Sequence[int]) -> Row:
        return [math.fsum(weight[e] * b[e][x] for e in entries) for x in range(len(b[0]))]

    def towards(row: Row, centroids: Sequence[Row]) -> int:
        near = [cosine(row, one) for one in centroids]
        return near.index(max(near))

    seeds = [weight.index(max(weight))]
    while len(seeds) < most:
        closest = [max(cosine(row, b[seed]) for seed in seeds) for row in b]
        if min(closest) >= 1 - 1e-6:
            break
        seeds.append(closest.index(min(closest)))
    centroids = [b[seed] for seed in seeds]
    label = [towards(row, centroids) for row in b]
    for _ in range(4):
        groups = [[e for e in range(len(b)) if label[e] == number] for number in range(len(centroids))]
        centroids = [mean(group) if group else old for group, old in zip(groups, centroids, strict=True)]
        label = [towards(row, centroids) for row in b]
    return label


# guards


def repeated_share(text: str) -> float:
    data = text.encode("utf-8", "surrogatepass")
    seen: set[bytes] = set()
    again, n = 0, len(data) - 15
    for start in range(n):
        piece = data[start : start + 16]
        again += piece in seen
        seen.add(piece)
    return again / n if n > 0 else 0.0


def eights(text: str) -> list[bytes]:
    data = text.encode("utf-8", "surrogatepass")
    return [data[start : start + 8] for start in range(len(data) - 7)]


def copied_share(text: str, prompt: str) -> float:
    own, asked = ("".join(one.casefold().split()) for one in (text, prompt))
    pieces, known = eights(own), eights(asked)
    in_order = sum(piece in known for piece in pieces) / len(pieces) if pieces else 0.0
    words, of_prompt = ({*re.findall(r"[^\W_]+", one.casefold())} for one in (text, prompt))
    if words and not words - of_prompt and max(len(text), len(prompt)) <= 16_384:
        return max(in_order, len(words) / len(of_prompt))
    return in_order


def foreign_stretches(texts: Sequence[str], prompts: Sequence[str], group: Sequence[int]) -> list[int]:
    longest = []
    for item in range(len(texts)):
        others = siblings(item, group)
        known = {piece for other in others for piece in eights(texts[other])}
        known |= {piece for other in [item, *others] for piece in eights(prompts[other])}
        strange = "".join("." if piece in known else "x" for piece in eights(texts[item])).split(".")
        longest.append(max(map(len, strange)) if len(others) >= 2 else 0)
    return longest


def mixed_groups_only(outcome: Sequence[float], group: Sequence[int], threshold: float) -> list[bool]:
    rejected = []
    for item in range(len(outcome)):
        sides = {outcome[other] > threshold for other in [item, *siblings(item, group)]}
        rejected.append(len(sides) == 1)
    return rejected


def cap(bonus: Sequence[float], outcome: Sequence[float], share: float) -> list[float]:
    capped = []
    for one, r in zip(bonus, outcome, strict=True):
        most = share * abs(r)
        capped.append(math.copysign(min(abs(one), most), one))
    return capped


def spread_cap(bonus: Sequence[float], outcome: Sequence[float], group: Sequence[int], share: float) -> list[float]:
    shrunk = []
    for item in range(len(bonus)):
        members = [item, *siblings(item, group)]
        bonuses, outcomes = [bonus[other] for other in members], [outcome[other] for other in members]
        mean = math.fsum(bonuses) / len(bonuses)
        spread, most = max(bonuses) - min(bonuses), share * (max(outcomes) - min(outcomes))
        shrunk.append(bonus[item] if spread <= most else mean + (bonus[item] - mean) * most / spread)
    return shrunk


def trimmed(window: Sequence[float], raw: Sequence[float]) -> list[float]:
    kept = sorted(window)
    out = len(kept) // 20
    kept = kept[out : len(kept) - out]
    if not kept or kept[-1] - kept[0] < 1e-6:
        return [0.0] * len(raw)
    low, high = kept[0], kept[-1]
    return [0.0 if math.isnan(x) else min(1.0, max(0.0, (x - low) / (high - low + 1e-8))) for x in raw]


def rank(window: Sequence[float], raw: Sequence[float]) -> list[float]:
    if not window or max(window) - min(window) < 1e-6:
        return [0.0] * len(raw)
    ranks = []
    for x in raw:
        below, equal = sum(one < x for one in window), sum(one == x for one in window)
        ranks.append(0.0 if math.isnan(x) else (below + equal / 2) / len(window))
    return ranks


def anneal(step: int, start: int, end: int) -> float:
    if step <= start:
        return 1.0
    return 0.0 if step >= end else 1 - (step - start) / (end - start)
