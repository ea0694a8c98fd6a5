"""Values of lists, texts, bytes and numbers as one array of bytes, which records and snapshots can hold."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np


def packed(value: Any) -> np.ndarray:
    """The value as MessagePack (bytes,)."""
    return np.frombuffer(msgpack.packb(value), np.uint8)


def unpacked(array: np.ndarray) -> Any:
    """The value that `packed` made an array of.

    Raises:
        ValueError: the array holds none.
    """
    try:
        return msgpack.unpackb(array.tobytes(), strict_map_key=False)
    except (msgpack.exceptions.UnpackException, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"not packed: {error!r}") from error
