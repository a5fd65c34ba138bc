"""One look at all bfloat16 scores of many queries, a tile that fits a cache at a time.

Scores are compared as the whole numbers that their bits are, by numpy, which is six times as quick at it as torch is at
floats.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metricforge.evaluation.side_by_side import side_by_side

STRIP = 512  # queries that a thread works on at a time
TILE = 1024  # images whose scores of a strip are looked at together: with two tables of flags a megabyte
LOWEST = np.iinfo(np.int16).min

Whole = np.ndarray[Any, np.dtype[np.int64]]
Bits = np.ndarray[Any, np.dtype[np.int16]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class Bands(NamedTuple):
    """What is looked for, for each of Q queries, in bfloat16 (Q,), own places and numbers in int64 (Q,).

    Images that score above ``ceiling`` are counted, those from ``floor`` to it are kept, all but the query's ``own``
    place in the gallery (-1: none). Of a query of which more than ``most`` would be kept none may be.
    """

    floor: Tensor
    ceiling: Tensor
    own: Tensor
    most: Tensor


class Banded(NamedTuple):
    """What was found: how many images are above the ceiling (Q,), for which queries too many would be kept (Q,).

    ``keys`` (N,) are the kept ones in order of query, score and image, those of a query between its ``starts`` (Q + 1,)
    """

    above: Whole
    too_many: Flags
    keys: Whole
    starts: Whole
    images: int

    def kept(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Query less ``start``, image and float32 score (n,) of what is kept for queries ``start:stop``."""
        keys = self.keys[self.starts[start] : self.starts[stop]]
        scores, image = np.divmod(keys, self.images)
        bits = ((scores & 0xFFFF) + LOWEST).astype(np.int16)
        bits = np.where(bits < 0, bits ^ 0x7FFF, bits)
        values = torch.from_numpy(bits).view(torch.bfloat16).float()
        return torch.from_numpy((scores >> 16) - start), torch.from_numpy(image), values


class _Strip(NamedTuple):
    """What a strip's queries found: counts above the ceiling and keys; and what the images behind it did as queries."""

    start: int
    stop: int
    above: Whole  # (rows,)
    above_behind: Whole  # (Q - stop,), or (0,)
    keys: Whole


def sweep(
    queries: Tensor,
    images: Tensor,
    bands: Bands,
    symmetric: bool,
    threads: int,
    on_queries: Callable[[int], object],
) -> Banded:
    """Compares the scores ``queries @ images.T`` of bfloat16 (Q, D) and (G, D) with ``bands``.

    Args:
        symmetric: whether the queries are the images, in their order, and a score is that of both ends: only half of the
            scores is computed then.
        threads: strips of queries looked at side by side.
        on_queries: told how many queries a strip had when it is through.
    """
    count = len(queries)
    look = _Look(queries, images, bands, symmetric)
    above, kept = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    keys = [np.empty(0, dtype=np.int64)]
    most = bands.most.numpy()
    for strip in side_by_side(look.at_strip, range(0, count, STRIP), threads):
        above[strip.start : strip.stop] += strip.above
        above[strip.stop : strip.stop + len(strip.above_behind)] += strip.above_behind
        kept += np.bincount(look.query_of(strip.keys), minlength=count)
        look.keep_no_more(kept > most)
        keys.append(strip.keys)
        on_queries(strip.stop - strip.start)
    too_many = kept > most
    found = np.concatenate(keys)
    keys.clear()
    if too_many.any():
        found = found[~too_many[look.query_of(found)]]
    found.sort()
    starts = np.searchsorted(found, look.first_key(np.arange(count + 1)))
    return Banded(above, too_many, found, starts, len(images))


class _Look:
    """Looks at a strip of queries; threads share it."""

    def __init__(self, queries: Tensor, images: Tensor, bands: Bands, symmetric: bool) -> None:
        self._queries, self._images, self._own = queries, images, bands.own.numpy()
        self._is_symmetric = symmetric
        floor, ceiling = _ordered_bits(bands.floor), _ordered_bits(bands.ceiling)
        floor[floor == 0] = -1  # reaches minus zero too
        self._floor = np.minimum(floor, ceiling + 1)  # where it is above, nothing is kept
        self._ceiling = ceiling
        self._is_positive = bool((self._floor > 0).all())
        self._rooms = threading.local()

    @torch.no_grad()  # which a thread has to say for itself
    def at_strip(self, start: int) -> _Strip:
        """The strip of queries that begins there."""
        stop = min(start + STRIP, len(self._queries))
        edges = [*range(stop if self._is_symmetric else 0, len(self._images), TILE), len(self._images)]
        tiles = list(itertools.pairwise(edges))
        if self._is_symmetric:
            tiles.insert(0, (start, stop))
        above = np.zeros(stop - start, dtype=np.int64)
        above_behind = np.zeros(len(self._images) - stop if self._is_symmetric else 0, dtype=np.int64)
        keys = []
        for begin, end in tiles:
            bits = self._bits(start, stop, begin, end)
            larger, row, column = self._compare(bits, self._ceiling[start:stop, None], self._floor[start:stop, None])
            above += np.add.reduce(larger, axis=1, dtype=np.uint16)
            keys.append(self._keys(row + start, column + begin, bits[row, column]))
            if self._is_symmetric and begin >= stop:
                larger, row, column = self._compare(bits, self._ceiling[begin:end], self._floor[begin:end])
                above_behind[begin - stop : end - stop] = np.add.reduce(larger, axis=0, dtype=np.uint16)
                keys.append(self._keys(column + begin, row + start, bits[row, column]))
        return _Strip(start, stop, above, above_behind, np.concatenate(keys))

    def keep_no_more(self, full: Flags) -> None:
        """From now on keeps nothing of the queries that are ``full`` (Q,)."""
        self._floor[full] = self._ceiling[full] + 1

    def query_of(self, keys: Whole) -> Whole:
        """The queries (N,) of ``keys`` (N,)."""
        return keys // (len(self._images) << 16)

    def first_key(self, query: Whole) -> Whole:
        """What no key of ``query`` (N,) is below."""
        return query * (len(self._images) << 16)

    def _bits(self, start: int, stop: int, begin: int, end: int) -> Bits:
        """Scores (rows, columns) of queries ``start:stop`` and images ``begin:end``, as numbers in their order."""
        scores = self._room("scores", stop - start, end - begin, torch.bfloat16)
        torch.mm(self._queries[start:stop], self._images[begin:end].T, out=scores)
        bits: Bits = scores.view(torch.int16).numpy()
        if not self._is_positive:
            np.bitwise_xor(bits, np.right_shift(bits, 15) & 0x7FFF, out=bits)
        own = self._own[start:stop]
        itself = np.flatnonzero((own >= begin) & (own < end))
        bits[itself, own[itself] - begin] = LOWEST
        return bits

    def _compare(self, bits: Bits, ceiling: Bits, floor: Bits) -> tuple[Flags, Whole, Whole]:
        """Which of ``bits`` (rows, columns) are above the ceiling, and where those are that reach the floor alone."""
        larger = self._room("larger", *bits.shape, torch.bool).numpy()
        inside = self._room("inside", *bits.shape, torch.bool).numpy()
        np.greater(bits, ceiling, out=larger)
        np.greater_equal(bits, floor, out=inside)
        np.bitwise_xor(inside, larger, out=inside)
        place = np.flatnonzero(inside)
        return larger, place // bits.shape[1], place % bits.shape[1]

    def _keys(self, query: Whole, image: Whole, bits: Bits) -> Whole:
        return ((query << 16) + (bits.astype(np.int64) - LOWEST)) * len(self._images) + image

    def _room(self, name: str, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """Memory (rows, columns) that a thread uses again and again."""
        room: Tensor | None = getattr(self._rooms, name, None)
        if room is None:
            room = torch.empty(STRIP * max(STRIP, TILE), dtype=dtype)
            setattr(self._rooms, name, room)
        return room[: rows * columns].view(rows, columns)


def _ordered_bits(scores: Tensor) -> Bits:
    """Numbers (N,) int16 that rank as bfloat16 ``scores`` (N,) do, 0 for minus zero."""
    bits: Bits = (scores + 0.0).view(torch.int16).numpy()
    return np.where(bits < 0, bits ^ 0x7FFF, bits)
