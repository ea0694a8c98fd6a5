"""Answers in plain Python: slow, one completion at a time, and importing nothing of the project."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Prompt:
    reference: str | None = None
    changes: int = 0
    visits: list[tuple[int, list[str | None]]] = field(default_factory=list)
    judged: list[tuple[str, bool]] = field(default_factory=list)


class PlainAnswers:
    """What was answered in each visit, the reference, and the verdicts since it last changed."""

    def __init__(self, group_size: int | None) -> None:
        self.group_size = group_size
        self.prompts: dict[bytes, Prompt] = {}

    def record(
        self,
        keys: list[bytes],
        answers: list[str | None],
        references: list[str | None],
        right: list[bool],
        step: int | None,
        now: int,
    ) -> None:
        begun: set[bytes] = set()
        for item, key in enumerate(keys):
            if key not in self.prompts and all(
                answers[other] is None and references[other] is None for other in self.run_of(keys, item)
            ):
                continue
            one = self.prompts.setdefault(key, Prompt())
            newest = next((references[n] for n in reversed(self.run_of(keys, item)) if references[n] is not None), None)
            if newest is not None and newest != one.reference:
                one.changes += one.reference is not None
                one.judged = [] if one.reference is not None else one.judged
                one.reference = newest
            if self.begins(one, step, key in begun):
                one.visits.append((now if step is None else step, []))
            begun.add(key)
            one.visits[-1][1].append(answers[item])
            if answers[item] is not None:
                one.judged.append((str(answers[item]), right[item]))

    @staticmethod
    def run_of(keys: list[bytes], item: int) -> range:
        """The adjacent items of the same prompt."""
        start = end = item
        while start > 0 and keys[start - 1] == keys[item]:
            start -= 1
        while end < len(keys) and keys[end] == keys[item]:
            end += 1
        return range(start, end)

    def begins(self, one: Prompt, step: int | None, in_this_record: bool = False) -> bool:
        if not one.visits:
            return True
        if step is not None:
            return one.visits[-1][0] != step
        if self.group_size is not None:
            return len(one.visits[-1][1]) >= self.group_size
        return not in_this_record
