"""One sweep over all bfloat16 scores of many queries, in tiles that fit a cache.

numpy compares the bits of scores as integers, six times as fast as torch compares floats.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Flags, Indices
from metricforge.evaluation.search.parallel_map import parallel_map
from metricforge.evaluation.search.sortable_bits import (
    Bfloat16Bits,
    largest_bfloat16_bits,
    least_bfloat16_bits,
    scores_of_bfloat16_bits,
    sortable_bfloat16_bits,
)
from metricforge.evaluation.search.thread_local_buffers import ThreadLocalBuffers

STRIP = 512  # queries that a thread sweeps together
TILE = 1024  # images swept together, a multiple of STRIP: a megabyte of scores, and one of flags
LOWEST = np.iinfo(np.int16).min
LOWEST_SCORE = sortable_bfloat16_bits(torch.tensor([-torch.inf]).bfloat16())[0]
MOST_CANDIDATES = 2**10  # images that may be a query's nearest; beyond it, whole rows are compared


class Bands(NamedTuple):
    """What to look for, for each of Q queries: bounds (Q,) that bfloat16 can hold, and int64 (Q,) indices and numbers.

    Images that score above ``ceiling`` are counted, those from ``floor`` to it are kept; the query itself, at gallery
    index ``self_index`` (-1: not there), is neither. A query that would keep more than ``most`` keeps none.
    """

    floor: Tensor
    ceiling: Tensor
    self_index: Tensor
    most: Tensor


class Kept:
    """Images that were kept for some queries, in order of query and score.

    Args:
        keys: (N,) as ``_keys`` makes them.
    """

    def __init__(self, keys: Indices) -> None:
        self._keys = np.sort(keys)

    def between(self, row: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where those within ``low`` (P,) and ``high`` (P,) of a ``row`` (P,) begin and end, and where the row ends.

        The bounds are values that bfloat16 can hold.
        """
        query = row.numpy()
        limits = (
            _keys(query, 0, least_bfloat16_bits(low)),
            _keys(query, 0, largest_bfloat16_bits(high)) + 2**32,
            (query + 1) << 48,
        )
        begin, end, row_end = (torch.from_numpy(np.searchsorted(self._keys, limit)) for limit in limits)
        return begin, torch.maximum(begin, end), row_end

    def images(self, begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """Row and image (n,) of what lies between ``begin`` (b,) and ``end`` (b,) of the rows."""
        length = end - begin
        ahead = length.cumsum(dim=0) - length
        index = torch.arange(int(length.sum())) + (begin - ahead).repeat_interleave(length)  # (n,)
        keys = self._keys[index.numpy()]
        return torch.from_numpy(keys >> 48), torch.from_numpy(keys & 0xFFFFFFFF)


class Banded(NamedTuple):
    """What was found: how many images are above the ceiling (Q,), and which queries would keep too many (Q,).

    ``keys`` are, for each tile of queries, arrays of those of what is kept, with indices in the tile. ``nearest`` says
    which images may be the nearest, if that was asked.
    """

    above: Indices
    too_many: Flags
    keys: list[list[Indices]]
    nearest: Nearest | None

    def kept(self, start: int, stop: int) -> Kept:
        """What is kept for queries ``start:stop``."""
        keys = _keys_of(self.keys, start, stop)
        return Kept(keys[~self.too_many[start + (keys >> 48)]])


class Nearest(NamedTuple):
    """Images that may be the nearest of their queries, by tile of queries: ``keys`` as those of what is kept.

    An image may be the nearest if its score reaches ``least`` (Q,). Of queries that are ``unclear`` (Q,) some may be
    missing.
    """

    keys: list[list[Indices]]
    least: Bfloat16Bits
    unclear: Flags

    def of(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Row and image (N,) for queries ``start:stop`` that are not unclear."""
        keys = _keys_of(self.keys, start, stop)
        keys = keys[~self.unclear[start + (keys >> 48)]]
        query = keys >> 48
        may_be = (keys >> 32 & 0xFFFF) + LOWEST >= self.least[start + query]
        return torch.from_numpy(query[may_be]), torch.from_numpy(keys[may_be] & 0xFFFFFFFF)


class _Strip(NamedTuple):
    """Counts above the ceiling of a strip's queries and of the images behind them as queries, and keys by tile."""

    start: int
    stop: int
    above: Indices  # (rows,)
    above_behind: Indices  # (Q - stop,), or (0,)
    keys: list[tuple[int, Indices]]
    best: Bfloat16Bits  # (rows,) the largest score of the strip's queries
    best_behind: Bfloat16Bits  # (Q - stop,), or (0,)
    nearest: list[tuple[int, Indices]]


def sweep(
    queries_of: Callable[[int, int], Tensor],
    images: Tensor,
    bands: Bands,
    symmetric: bool,
    threads: int,
    on_queries: Callable[[int], object],
    nearest_error: Tensor | None = None,
) -> Banded:
    """Compare all scores, products of queries and ``images``, with ``bands``.

    Args:
        queries_of: gives the queries from one index to another (b, D) in bfloat16.
        images: the gallery (G, D) in bfloat16.
        bands: what to look for.
        symmetric: whether the queries are the images, in the same order, and score alike both ways: only half of the
            scores are computed then.
        threads: strips of queries swept at a time.
        on_queries: called with the number of queries of each strip that is done.
        nearest_error: what a query's scores may be wrong by before they are rounded (Q,), to find the images that may
            be its nearest; None: do not.
    """
    count = len(bands.self_index)
    sweeper = _Sweeper(queries_of, images, bands, symmetric, nearest_error)
    above, kept = np.zeros(count, dtype=np.int64), np.zeros(-(-count // TILE) * TILE, dtype=np.int64)
    keys: list[list[Indices]] = [[] for _ in range(0, count, TILE)]
    nearest: list[list[Indices]] = [[] for _ in range(0, count, TILE)]
    candidates = np.zeros_like(kept)
    most = bands.most.numpy()
    for strip in parallel_map(sweeper.at_strip, range(0, count, STRIP), threads):
        above[strip.start : strip.stop] += strip.above
        above[strip.stop : strip.stop + len(strip.above_behind)] += strip.above_behind
        for tile, found in strip.keys:
            keys[tile].append(found)
            kept[tile * TILE : (tile + 1) * TILE] += np.bincount(found >> 48, minlength=TILE)
        for tile, found in strip.nearest:
            nearest[tile].append(found)
            candidates[tile * TILE : (tile + 1) * TILE] += np.bincount(found >> 48, minlength=TILE)
        sweeper.keep_no_more(kept[:count] > most)
        sweeper.note_best(strip, candidates[:count] > MOST_CANDIDATES)
        on_queries(strip.stop - strip.start)
    return Banded(above, kept[:count] > most, keys, sweeper.nearest(nearest))


class _Sweeper:
    """Sweeps strips of queries; shared by the threads."""

    def __init__(
        self,
        queries_of: Callable[[int, int], Tensor],
        images: Tensor,
        bands: Bands,
        symmetric: bool,
        nearest_error: Tensor | None,
    ) -> None:
        self._queries_of, self._images, self._self_index = queries_of, images, bands.self_index.numpy()
        self._is_symmetric = symmetric
        self._ceiling = largest_bfloat16_bits(bands.ceiling)
        self._floor = np.minimum(
            least_bfloat16_bits(bands.floor), self._ceiling + 1
        )  # where it is above, nothing is kept
        self._is_positive = bool((self._floor > 0).all())  # their bits are in order as they are; all others sort below
        self._error = None if nearest_error is None else nearest_error.numpy().astype(np.float32)
        self._best = np.full(len(self._self_index), LOWEST_SCORE)  # (Q,) the largest score so far
        self._unclear = np.zeros(len(self._self_index), dtype=bool)
        self._buffers = ThreadLocalBuffers()

    @torch.no_grad()  # which a thread has to say for itself
    def at_strip(self, start: int) -> _Strip:
        """The strip of queries that begins there."""
        stop = min(start + STRIP, len(self._self_index))
        queries = self._queries_of(start, stop)  # (rows, D)
        tiles = self._tiles(stop if self._is_symmetric else 0)
        if self._is_symmetric:
            tiles.insert(0, (start, stop))
        above = np.zeros(stop - start, dtype=np.int64)
        above_behind = np.zeros(len(self._images) - stop if self._is_symmetric else 0, dtype=np.int64)
        own_tile, offset = divmod(start, TILE)
        own_keys, keys = [], []
        best, best_behind = self._best[start:stop].copy(), self._best[stop : stop + len(above_behind)].copy()
        own_nearest: list[Indices] = [np.empty(0, dtype=np.int64)]
        nearest: list[tuple[int, Indices]] = []
        for begin, end in tiles:
            bits = self._bits(queries, start, begin, end)
            larger, row, column = self._compare(bits, self._ceiling[start:stop, None], self._floor[start:stop, None])
            above += np.add.reduce(larger, axis=1, dtype=np.uint16)
            own_keys.append(_keys(row + offset, column + begin, bits[row, column]))
            if self._error is not None:
                row, column = self._nearest(bits, best, start, stop)
                own_nearest.append(_keys(row + offset, column + begin, bits[row, column]))
            if self._is_symmetric and begin >= stop:
                larger, row, column = self._compare(bits, self._ceiling[begin:end], self._floor[begin:end])
                above_behind[begin - stop : end - stop] = np.add.reduce(larger, axis=0, dtype=np.uint16)
                keys.append((begin // TILE, _keys(column + begin % TILE, row + start, bits[row, column])))
                if self._error is not None:
                    behind = slice(begin - stop, end - stop)
                    column, row = self._nearest(bits.T, best_behind[behind], begin, end)
                    nearest.append((begin // TILE, _keys(column + begin % TILE, row + start, bits[row, column])))
        return _Strip(
            start,
            stop,
            above,
            above_behind,
            [(own_tile, np.concatenate(own_keys)), *keys],
            best,
            best_behind,
            [(own_tile, np.concatenate(own_nearest)), *nearest],
        )

    def keep_no_more(self, full: Flags) -> None:
        """From now on keep nothing of the queries that are ``full`` (Q,)."""
        self._floor[full] = self._ceiling[full] + 1

    def note_best(self, strip: _Strip, full: Flags) -> None:
        """Remember the largest scores of a strip, and look for no more candidates of queries that are ``full`` (Q,)."""
        if self._error is None:
            return
        behind = slice(strip.stop, strip.stop + len(strip.best_behind))
        for part, best in ((slice(strip.start, strip.stop), strip.best), (behind, strip.best_behind)):
            self._best[part] = np.maximum(self._best[part], best)
        self._unclear |= full

    def nearest(self, keys: list[list[Indices]]) -> Nearest | None:
        """Which images may be the nearest by ``keys``, now that all scores have been seen."""
        if self._error is None:
            return None
        least = self._least(self._best, 0, len(self._best))
        # Where bits were left as they are, only those of positive scores are in order.
        unclear = self._unclear | (least <= 0) if self._is_positive else self._unclear
        return Nearest(keys, least, unclear)

    def _nearest(self, bits: Bfloat16Bits, best: Bfloat16Bits, start: int, stop: int) -> tuple[Indices, Indices]:
        """Where ``bits`` (n, m) of queries ``start:stop`` may be their largest; updates ``best`` (n,)."""
        largest = bits.max(axis=1)
        np.maximum(best, largest, out=best)
        least = self._least(best, start, stop)
        rows = np.flatnonzero((largest >= least) & ~self._unclear[start:stop])
        index = np.flatnonzero(bits[rows] >= least[rows, None])  # much faster than nonzero of two dimensions
        return rows[index // bits.shape[1]], index % bits.shape[1]

    def _least(self, best: Bfloat16Bits, start: int, stop: int) -> Bfloat16Bits:
        """The least score (n,) of an image that may be nearer than the ``best``, where both are off by the error."""
        assert self._error is not None
        scores, error = scores_of_bfloat16_bits(best), torch.from_numpy(self._error[start:stop])
        least = scores - scores.abs() / 2**6 - 2 * error * (1 + 1 / 2**6)
        return least_bfloat16_bits(torch.where(scores.isinf(), scores, least))

    def _tiles(self, first: int) -> list[tuple[int, int]]:
        """Where the tiles of the images from ``first`` on begin and end."""
        edges = range((first // TILE + 1) * TILE, len(self._images), TILE)
        return [(begin, end) for begin, end in itertools.pairwise([first, *edges, len(self._images)]) if begin < end]

    def _bits(self, queries: Tensor, start: int, begin: int, end: int) -> Bfloat16Bits:
        """Scores (rows, columns) of ``queries``, from ``start`` on, and images ``begin:end``, as sortable integers."""
        scores = self._buffers.buffer("scores", len(queries), end - begin, torch.bfloat16)
        torch.mm(queries, self._images[begin:end].T, out=scores)
        bits = scores.view(torch.int16).numpy() if self._is_positive else sortable_bfloat16_bits(scores)
        column = self._self_index[start : start + len(queries)] - begin
        row = np.flatnonzero((column >= 0) & (column < end - begin))
        bits[row, column[row]] = LOWEST
        return bits

    def _compare(
        self, bits: Bfloat16Bits, ceiling: Bfloat16Bits, floor: Bfloat16Bits
    ) -> tuple[Flags, Indices, Indices]:
        """Which of ``bits`` (rows, columns) are above the ceiling, and where those are that reach the floor alone."""
        larger = self._buffers.buffer("larger", bits.shape[0], bits.shape[1], torch.bool).numpy()
        inside = self._buffers.buffer("inside", bits.shape[0], bits.shape[1], torch.bool).numpy()
        np.greater(bits, ceiling, out=larger)
        np.greater_equal(bits, floor, out=inside)
        np.bitwise_xor(inside, larger, out=inside)
        index = np.flatnonzero(inside)
        return larger, index // bits.shape[1], index % bits.shape[1]


def _keys(query: Indices, image: Indices | int, bits: Bfloat16Bits) -> Indices:
    """From the highest bit on, the query's index in 15 bits, the score in 16, the image in 32: sorted in this order."""
    return query << 48 | (bits.astype(np.int64) - LOWEST) << 32 | image


def _keys_of(by_tile: list[list[Indices]], start: int, stop: int) -> Indices:
    """The keys (N,) of queries ``start:stop``, with indices counted from ``start`` on."""
    found = []
    for tile in range(start // TILE, (stop - 1) // TILE + 1):
        keys = np.concatenate([np.empty(0, dtype=np.int64), *by_tile[tile]])
        keys += (tile * TILE - start) << 48
        found.append(keys[(keys >= 0) & (keys < (stop - start) << 48)])
    return np.concatenate(found)
