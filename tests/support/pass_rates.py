"""Pass rates in plain Python: slow, one completion at a time, and importing nothing of the project."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Prompt:
    right: float = 0.0
    wrong: float = 0.0
    first: list[bool] = field(default_factory=list)
    visits: list[int] = field(default_factory=list)
    size: int = 0


class PlainPassRates:
    """Counts of right and wrong completions for each prompt, those before a visit halved."""

    def __init__(self, group_size: int | None) -> None:
        self.group_size = group_size
        self.prompts: dict[bytes, Prompt] = {}

    def record(self, keys: list[bytes], right: list[bool], step: int | None, now: int) -> None:
        begun: set[bytes] = set()
        for key, good in zip(keys, right, strict=True):
            one = self.prompts.setdefault(key, Prompt())
            if self._begins(one, step, key in begun):
                one.right, one.wrong, one.size = one.right / 2, one.wrong / 2, 0
                one.visits.append(now if step is None else step)
            begun.add(key)
            one.right, one.wrong, one.size = one.right + good, one.wrong + (not good), one.size + 1
            if len(one.visits) <= 2:
                one.first.append(good)

    def _begins(self, one: Prompt, step: int | None, in_this_record: bool) -> bool:
        if not one.visits:
            return True
        if step is not None:
            return one.visits[-1] != step
        if self.group_size is not None:
            return one.size >= self.group_size
        return not in_this_record
