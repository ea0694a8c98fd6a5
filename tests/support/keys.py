"""API keys for tests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def keys_file(folder: Path, secret: str = "a key", **fields: str) -> tuple[Path, str]:
    """A keys file with one key, readable by its owner only, and the key."""
    path = folder / "keys.json"
    path.write_text(json.dumps([{**fields, "sha256": hashlib.sha256(secret.encode()).hexdigest()}]))
    path.chmod(0o600)
    return path, secret
