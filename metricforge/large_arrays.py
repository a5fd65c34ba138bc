"""Arrays that may be larger than memory: in temporary files above a size, and read block by block."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from metricforge.arrays import Array, Flags
from metricforge.errors import DiskSpaceError

MAPPED_ABOVE_GB = 4.0
NUMBERS_AT_ONCE = 2**20
ROWS_AT_ONCE = 8192  # embeddings that one step converts, copies or sends
# numpy parses a file's header as Python, which Python 3.11 may fail at in two threads at a time (SystemError)
_ONE_HEADER = threading.Lock()


def mapped_array(file: Path) -> Array:
    """The array of an .npy ``file``, memory-mapped and read-only; safe to call from several threads."""
    with _ONE_HEADER:
        array: Array = np.load(file, mmap_mode="r")
    return array


def stored_arrays(file: Path) -> dict[str, Array]:
    """The arrays of an .npz ``file`` by name; safe to call from several threads."""
    with _ONE_HEADER, np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


def new_array(shape: tuple[int, ...], dtype: Any, mapped_above_gb: float = MAPPED_ABOVE_GB) -> Array:
    """An array to be filled in; of more than ``mapped_above_gb`` 10^9 bytes it lies in a memory-mapped temporary file.

    The file has no name and is gone with the array, however the program ends. It lies where Python's ``tempfile`` puts
    it: in the folder that the environment's TMPDIR names.

    Raises:
        DiskSpaceError: if there is no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= mapped_above_gb * 1e9:
        return np.empty(shape, dtype)
    folder = tempfile.gettempdir()
    with tempfile.TemporaryFile(prefix="metricforge-", dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # else a full disk is found out while writing, and ends the program
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as fault:
                raise DiskSpaceError(
                    f"{folder} has no room for a temporary file of {size / 1e9:.1f} GB ({fault.strerror}); set TMPDIR "
                    "to a folder on a larger disk, or keep more in memory (test_cfg.mapped_above_gb)"
                ) from fault
        return np.memmap(file, dtype, "w+", shape=shape)


def array_beside(rows: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """An array to be filled with what becomes of ``rows``: like these in a temporary file, or where it is large."""
    return new_array(shape, dtype, 0 if _mapping(rows)[1] == "w+" else MAPPED_ABOVE_GB)


def row_blocks(rows: Array, rows_at_once: int) -> Iterator[tuple[slice, Array]]:
    """Where each block of consecutive ``rows`` (N, ...) stands, and the block.

    What has been read of a memory-mapped file is let go, so that it does not count as this program's memory.
    """
    for start in range(0, len(rows), rows_at_once):
        block = slice(start, min(start + rows_at_once, len(rows)))
        yield block, rows[block]
        let_go(rows)


def let_go(rows: Array) -> None:
    """Let go of what has been read of memory-mapped ``rows``, so that it does not count as this program's memory."""
    mapping, mode = _mapping(rows)
    # Of a private mapping ("c") that would undo what was written to it.
    if mapping is not None and mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def finite_rows(rows: Array) -> Flags:
    """Which of ``rows`` (N, D) hold finite numbers alone (N,)."""
    finite = np.empty(len(rows), dtype=np.bool_)
    for place, block in row_blocks(rows, max(1, NUMBERS_AT_ONCE // max(1, rows.shape[1]))):
        finite[place] = np.isfinite(block).all(axis=1)
    return finite


def _mapping(rows: Array) -> tuple[mmap.mmap | None, str | None]:
    """The mapped file that ``rows`` lie in, and the mode that it was opened in; None where they lie in memory."""
    mode, base = None, rows
    while isinstance(base, np.ndarray):
        mode = base.mode if isinstance(base, np.memmap) else mode
        base = base.base  # type: ignore[assignment]
    return (base, mode) if isinstance(base, mmap.mmap) else (None, None)
