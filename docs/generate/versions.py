"""What has a version, which it is, and where it can be read."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

from memr_service.run.archive import MAGIC
from memr_service.state.law import LAW
from memr_service.store.sqlite.database import VERSION

from docs.generate.markdown import table

ROOT = Path(__file__).parents[2]


def versions() -> str:
    """A line for each thing that has a version."""
    wire = json.loads((ROOT / "openapi.json").read_text("utf-8"))["info"]["version"]
    rows = [
        ["client", f"`{metadata.version('memr')}`", "who imports `memr_client`", "`memr --version`, `pip show memr`"],
        ["wire", f"`{wire}`", "who speaks HTTP", "`info.version` of `GET /openapi.json`"],
        ["law", f"`{LAW}`", "who compares rewards", "`law` of `GET /version`, and of a run's provenance"],
        ["run file: folder", f"`{VERSION}`", "who keeps runs", "`PRAGMA user_version` of the folder's database"],
        ["run file: export", f"`{MAGIC.decode().split()[-1]}`", "who moves runs", "the export's first line"],
    ]
    return table(["what", "version", "for whom", "where to read it"], rows)
