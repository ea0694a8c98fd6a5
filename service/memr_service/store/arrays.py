"""Named arrays as one file: an .npz and, behind it, the CRC-32 of its bytes (4, little-endian)."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

CHUNK = 1 << 20


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to an empty file that can be read back."""
    # Not `np.savez`: it would pickle objects, which are never read back, and some names are its own arguments.
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    file.flush()
    file.write(struct.pack("<I", _checksum(file, file.tell())))
    file.flush()


def read(file: BinaryIO) -> dict[str, np.ndarray]:
    """The arrays behind what `write` wrote.

    Raises:
        ValueError, zipfile.BadZipFile: the file is damaged.
    """
    size = max(file.seek(0, os.SEEK_END) - 4, 0)
    checksum = _checksum(file, size)
    if file.read() != struct.pack("<I", checksum):
        raise ValueError("its checksum does not match")
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def _checksum(file: BinaryIO, size: int) -> int:
    """CRC-32 of the first `size` bytes; leaves the file positioned behind them."""
    file.seek(0)
    crc = 0
    for start in range(0, size, CHUNK):
        crc = zlib.crc32(file.read(min(CHUNK, size - start)), crc)
    return crc
