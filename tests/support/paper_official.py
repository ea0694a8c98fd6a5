"""The released code's order and quirks, as a run of their own: what the official presets reproduce (see `paper.py`)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from support.paper import Item, Oracle, Reading


def scale_officially(name: str, raw: list[float | None], on: list[bool], window: list[float], w: int) -> list[float]:
    """Scaled values; the window moves along. `on`: whether explore is, for each item."""
    scaled = []
    for x, is_on in zip(raw, on, strict=True):
        if x is None:
            # Presets "empty read scores novelty 1.0 without touching the window": explore 1.0, exploit 1 - 1.0.
            scaled.append(1.0 if name == "explore" and is_on else 0.0)
            continue
        window.append(x)
        del window[:-w]
        low, high = min(window), max(window)
        if low < high:
            # Presets "window scaling without eps; exploit = 1 - scaled distance": x is minus the distance already.
            scaled.append((x - low) / (high - low))
        else:
            # Presets "an unscaled 1 - distance when the window is degenerate; explore 0 when degenerate"
            scaled.append(1.0 + x if name == "exploit" else 0.0)
    return scaled


class OfficialOracle(Oracle):
    """A run under `official-memory-r+` (or `official-memory-r`, where only exploit is named in `components`)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__({"explore_warmup_prompts": 500, **config})

    def _readings(self, items: list[Item]) -> list[Reading]:
        # L9 "write and read item by item, itself included, which leaks the label"
        readings = []
        for item in items:
            self._write(item)
            readings.append(self._read(item))
        return readings

    def _explore_is_on(self) -> bool:
        # Presets "explore on from >= explore_warmup_prompts failure prompts, default 500, steps ignored"
        prompts: int = self.config["explore_warmup_prompts"]
        return len(self.failure.prompts) >= prompts

    def _scaled(
        self, name: str, raw: list[float | None], readings: list[Reading], groups: Sequence[Hashable]
    ) -> list[float]:
        on = [reading.explore_on for reading in readings]
        return scale_officially(name, raw, on, self.windows[name], self.config["window"])
