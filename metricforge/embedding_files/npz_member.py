"""Reads one array of a .npz file, memory-mapped where possible."""

from __future__ import annotations

import math
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from metricforge.arrays import Array
from metricforge.large_arrays import new_array

BYTES_AT_ONCE = 2**24
LOCAL_HEADER = struct.Struct("<26x2H")  # of a member in a zip file; ends with the lengths of its name and extra field


def read_npz_member(path: Path, archive: zipfile.ZipFile, member: str) -> Array:
    """Read array ``member`` of the open ``archive`` at ``path``, read-only and memory-mapped if it is not compressed.

    (``numpy.load`` maps no member of an archive.) A compressed one is read block by block, into a temporary file if it
    is large. Its checksum is verified.

    Raises:
        ValueError: for a member that is not an array, or holds Python objects.
        zipfile.BadZipFile: if the checksum does not match.
        EOFError: if it ends too early.
    """
    info = archive.getinfo(member)
    with archive.open(info) as stream:
        shape, by_column, dtype = _header(stream, member)
        if dtype.hasobject:
            raise ValueError(
                f"{member} holds Python objects, which are not unpacked; write numbers or text: labels.astype(str)"
            )
        size, stored = math.prod(shape) * dtype.itemsize, info.file_size - stream.tell()
        if stored < size:
            raise EOFError(f"{member} has {stored:,} of the {size:,} bytes that {shape} {dtype} take")
        if 0 in shape:
            return np.empty(shape, dtype)
        if info.compress_type == zipfile.ZIP_STORED:
            offset = _start(path, info) + stream.tell()
            while stream.read(BYTES_AT_ONCE):
                pass  # the archive verifies the checksum at the end
            return np.memmap(path, dtype, "r", offset, shape, "F" if by_column else "C")
        array = new_array(shape[::-1] if by_column else shape, dtype)
        _fill(array, stream)
    return array.T if by_column else array


def _header(stream: IO[bytes], member: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)  # type: ignore[no-untyped-call]
    raise ValueError(f"{member} is of version {version} of numpy's format, which has tables, not arrays of numbers")


def _start(path: Path, info: zipfile.ZipInfo) -> int:
    """Return the offset in the file at which the bytes of a member begin."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    return info.header_offset + LOCAL_HEADER.size + name + extra


def _fill(array: Array, stream: IO[bytes]) -> None:
    rest = array.reshape(-1).view(np.uint8)
    while len(rest):
        block = stream.read(min(len(rest), BYTES_AT_ONCE))
        if not block:
            raise EOFError(f"it ends {len(rest):,} bytes too early")
        rest[: len(block)] = np.frombuffer(block, np.uint8)
        rest = rest[len(block) :]
    stream.read()  # to the end, where the archive verifies the checksum
