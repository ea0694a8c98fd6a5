"""The presets: what each sets, and the whole config it stands for."""

from __future__ import annotations

import json
from typing import Any

from memr_service.run.presets import spelled_out
from memr_service.settings import Settings

BASE = "memory-r+"
"""The preset that the others are compared with: its fields are the defaults of `RunConfig`."""


def presets() -> str:
    """A section for each preset: the fields that differ from `memory-r+`, with the server's default encoder."""
    every = spelled_out(Settings.model_fields["encoder"].default)
    base = every.pop(BASE)
    parts = [f"## `{BASE}`", _block(base)]
    for name, config in every.items():
        different = {field: value for field, value in config.items() if value != base[field] and field != "preset"}
        parts += [f"## `{name}`", f"As `{BASE}`, but for:", _block(different)]
    return "\n\n".join(parts)


def _block(config: dict[str, Any]) -> str:
    return f"```json\n{json.dumps(config, indent=2, ensure_ascii=False)}\n```"
