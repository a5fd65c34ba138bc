"""Millions of strings in a few buffers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa


class StringColumn(Sequence[str]):
    """Strings (N,) in one Arrow array: no Python object a string, and nothing that a forked worker copies.

    Args:
        strings: an Arrow array of strings, or any strings.
    """

    def __init__(self, strings: Iterable[str] | pa.Array | pa.ChunkedArray) -> None:
        if isinstance(strings, pa.ChunkedArray):
            strings = strings.cast(pa.large_string()).combine_chunks()
        if not isinstance(strings, pa.Array):
            strings = pa.array(strings, type=pa.large_string())
        self.array = strings.cast(pa.large_string())

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self.array[index].to_pylist())
        return self.array[int(index)].as_py()

    def filter(self, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> StringColumn:
        """The strings for which ``chosen`` (N,) is true."""
        return StringColumn(self.array.filter(pa.array(chosen)))

    def add_to(self, digest: hashlib._Hash) -> None:
        """Updates ``digest`` with all strings, so that any two different columns differ."""
        _, offsets, data = self.array.buffers()
        first, last = self.array.offset, self.array.offset + len(self.array)
        ends = np.frombuffer(offsets, dtype=np.int64)[first : last + 1]  # (N + 1,)
        digest.update((ends - ends[0]).astype("<i8").tobytes())
        if ends[-1] > ends[0]:
            digest.update(memoryview(data)[ends[0] : ends[-1]])
