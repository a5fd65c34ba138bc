"""Millions of strings in a few buffers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from metricforge.arrays import Bytes, Flags, Indices

# Mixes the words of a string into its hash: an odd factor spreads every bit upwards.
_ODD = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 2**22  # bytes of strings that are hashed at a time


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

    def filter(self, chosen: Flags) -> StringColumn:
        """The strings for which ``chosen`` (N,) is true."""
        return StringColumn(self.array.filter(pa.array(chosen)))

    def repeated(self) -> pa.StructArray:
        """Each string that stands more than once (``values``) and how often (``counts``), in the order they come in.

        Strings with unlike hashes differ, which leaves almost none to compare: ten million take two seconds, a fifth of
        what counting the strings themselves takes.
        """
        hashes = self._hashes()  # (N,)
        ordered = np.sort(hashes)
        twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        counts = pc.value_counts(self.array.filter(pa.array(np.isin(hashes, twice))))
        return counts.filter(pc.greater(counts.field("counts"), 1))

    def _hashes(self) -> NDArray[np.uint64]:
        """A number of each string (N,), equal for equal ones and hardly ever otherwise."""
        ends, data = self._ends_and_bytes()  # (N + 1,), (bytes,)
        hashes = np.diff(ends).astype(np.uint64) * _ODD  # (N,)
        words = -(-int(np.diff(ends).max(initial=0)) // 8)
        rows = max(1, _BLOCK // (8 * max(1, words)))
        for first in range(0, len(hashes), rows):
            block = hashes[first : first + rows]  # (R,), a view
            bounds = ends[first : first + rows + 1]
            padded = np.zeros((len(block), 8 * words), dtype=np.uint8)  # (R, bytes)
            padded[np.arange(8 * words) < np.diff(bounds)[:, None]] = data[bounds[0] : bounds[-1]]
            for word in padded.view("<u8").T:
                block ^= word
                block *= _ODD
                block ^= block >> np.uint64(32)
        return hashes

    def _ends_and_bytes(self) -> tuple[Indices, Bytes]:
        """Where each string begins and the last one ends (N + 1,), in the bytes of all."""
        _, offsets, data = self.array.buffers()
        first, last = self.array.offset, self.array.offset + len(self.array)
        ends = np.frombuffer(offsets, dtype=np.int64)[first : last + 1] if len(self.array) else np.zeros(1, np.int64)
        return ends, np.frombuffer(data if data is not None else b"", dtype=np.uint8)

    def add_to(self, digest: hashlib._Hash) -> None:
        """Update ``digest`` with all strings, so that any two different columns differ."""
        ends, data = self._ends_and_bytes()  # (N + 1,), (bytes,)
        digest.update((ends - ends[0]).astype("<i8").tobytes())
        digest.update(data[ends[0] : ends[-1]].data)
