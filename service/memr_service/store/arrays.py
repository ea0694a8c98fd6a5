"""Named arrays as one file.

The file holds the bytes of each array, then a table of contents (MessagePack), then that table's length and CRC-32.
Every array has a checksum of its own, so that one array is checked while the next is read: gigabytes of vectors are
read in about the time it takes to copy them.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BufferedIOBase
from typing import BinaryIO

import msgpack
import numpy as np

_END = struct.Struct("<QI")


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to an empty file."""
    contents = []
    for name, array in arrays.items():
        data = _bytes(np.ascontiguousarray(array))
        contents.append([name, array.dtype.str, list(array.shape), zlib.crc32(data)])
        file.write(data)
    packed = bytes(msgpack.packb(contents))
    file.write(packed + _END.pack(len(packed), zlib.crc32(packed)))
    file.flush()


def read(file: BufferedIOBase) -> dict[str, np.ndarray]:
    """Read the arrays that `write` wrote. They may be written to, and nobody else has them.

    Raises:
        ValueError: the file is damaged.
    """
    contents = _contents(file)
    file.seek(0)
    arrays: dict[str, np.ndarray] = {}
    with ThreadPoolExecutor(os.cpu_count(), "memr-checksum") as pool:
        checked = []
        for name, dtype, shape, checksum in contents:
            array = arrays[name] = np.empty(shape, dtype)
            file.readinto(_bytes(array))
            checked.append((pool.submit(zlib.crc32, _bytes(array)), checksum))
    if any(computed.result() != checksum for computed, checksum in checked):
        raise ValueError("a checksum does not match")
    return arrays


def _contents(file: BufferedIOBase) -> list[tuple[str, str, list[int], int]]:
    """For each array its name, type, shape and checksum."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size))
    end = file.read()
    if len(end) < _END.size:
        raise ValueError("it is cut off")
    length, checksum = _END.unpack(end)
    start = size - _END.size - length
    if start < 0:
        raise ValueError("its end is damaged")
    file.seek(start)
    packed = file.read(length)
    if zlib.crc32(packed) != checksum:
        raise ValueError("its table of contents is damaged")
    return list(msgpack.unpackb(packed))


def _bytes(array: np.ndarray) -> memoryview:
    """The bytes of a contiguous array, without copying it. `TypeError` if it holds objects."""
    return array.reshape(-1).view(np.uint8).data
