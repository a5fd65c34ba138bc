"""Freed memory stays with the process, so that a batch on a CPU does not fault its pages in again."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's mallopt, as <malloc.h> numbers them.
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4
GROW_BY = 2**28  # bytes asked of the system at a time


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep what was freed for the next allocation, and say whether there is a glibc to tell.

    By default it maps each large tensor anew and unmaps it when it is freed. A convolutional network allocates the
    same gigabytes for every batch, and their page faults take up to half of the time on a CPU. The process stays as
    large as it was at its largest. Results do not change.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False  # musl's allocator has no such settings
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, GROW_BY))
    return all(libc.mallopt(parameter, value) == 1 for parameter, value in settings)
