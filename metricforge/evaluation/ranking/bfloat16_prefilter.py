"""Finds what may be ranked above matches by bfloat16 products: half the time of float32's, a quarter within one set."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Flags, Integers32
from metricforge.evaluation.ranking.bfloat16_sweep import LOWEST, Banded, Bands, sweep
from metricforge.evaluation.ranking.candidates import ANY_FLOAT, MatchList, NearestCandidates, PrefilterResult
from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.evaluation.search.sortable_bits import (
    largest_bfloat16_bits,
    least_bfloat16_bits,
    scores_of_bfloat16_bits,
    sortable_bfloat16_bits,
)

LEAST_SAMPLE = 2**11  # gallery images, at least, whose scores are sampled beforehand
KEEPING = 16  # the cost of keeping an image, in sampled scores
KEPT_BY_QUERY = 2**10  # images that a query should keep, at most, on average
MOST_KEPT = 2**15  # images per query; beyond it, whole rows are compared
LEAST_GALLERY = 2**12  # images, at least, for a bfloat16 product to pay
SLACK = 256  # images that a query may keep beyond twice the sample's estimate


class _MatchScores(NamedTuple):
    """Float32 scores (P,) of matches, their bounds in bfloat16 (P,), and the upper bound of the nearest match (b,)."""

    score: Tensor
    low: Tensor
    high: Tensor
    may_be_first: Tensor
    best_high: Tensor


class Bfloat16Prefilter:
    """Find the images that may be ranked above matches by one sweep over the bfloat16 scores of many queries.

    ``plan`` learns from a sample of the gallery how far each query has to look, ``sweep`` looks, and ``nearest`` gives
    what was found for a block of queries.

    Args:
        self_index: the gallery index of each query itself (Q,), -1 for queries that are not in the gallery.
        first: the nearest match is of interest up to this rank.
        every: matches are of interest up to this rank of each query (Q,).
    """

    def __init__(
        self, source: InnerProductScores, self_index: Tensor, first: int, every: Tensor, *, nearest: bool = False
    ) -> None:
        self._source, self._self_index, self._first, self._every = source, self_index, first, every
        self._seeks_nearest = nearest
        images = source.bfloat16_images
        self._size = len(images)
        self._step = max(1, self._size // _sample_size(self._size, every))
        self._sample = torch.arange(0, self._size, self._step)  # (S,)
        self._sampled_images = images[self._sample]  # (S, D')
        self._error = torch.zeros(len(self_index))  # of scores before they are rounded (Q,)
        self._reach = torch.full((len(self_index),), math.inf)  # lower scores are surely beyond the ranks of interest
        self._seeks_first = torch.zeros(len(self_index), dtype=torch.bool)
        self._floor, self._ceiling = torch.full((2, len(self_index)), math.inf, dtype=torch.bfloat16)
        self.expected = torch.zeros(len(self_index))  # images that each query will keep (Q,)
        self._begin = 0
        self._found: Banded | None = None

    def plan(self, queries: Tensor, matches: MatchList) -> bool:
        """Learn how far ``queries`` (b,) have to look; False where bfloat16 products break their error bound."""
        rows, error = self._source.bfloat16_queries(queries)  # (b, D'), (b,)
        bits = sortable_bfloat16_bits(torch.mm(rows, self._sampled_images.T))  # (b, S)
        row = np.arange(len(bits))
        # Where they do, no rank could be trusted: compare the largest scores with float32's.
        largest = bits.argmax(axis=1)
        known = self._source.single_pairs(queries, self._sample[largest]).double()  # (b,)
        off_by = (scores_of_bfloat16_bits(bits[row, largest]).double() - known).abs() - known.abs() / 2**7
        if (off_by > error).any():
            return False
        column, rest = np.divmod(self._self_index[queries].numpy(), self._step)
        is_sampled = np.flatnonzero((rest == 0) & (column >= 0))
        bits[is_sampled, column[is_sampled]] = LOWEST
        error = self._error[queries] = error.float()

        scores = self._match_scores(queries, matches)
        share = len(self._sample) / self._size
        if self._first:  # for the others it is enough to count that many ranked above
            above = _count_in_rows(bits > largest_bfloat16_bits(scores.best_high)[:, None])  # (b,)
            self._seeks_first[queries] = torch.from_numpy(above <= 2 * self._first * share + 8)
        every = self._every[queries]
        if (deepest := int(every.max())) > 0:
            # In the sample alone, `every` images reach this score.
            nearest = np.sort(np.partition(bits, -deepest, axis=1)[:, -deepest:], axis=1)  # (b, deepest)
            reach = scores_of_bfloat16_bits(nearest[row, -every.clamp(min=1).numpy()]) - 2 * error  # (b,)
            reach = reach - reach.abs() / 2**6 - 2 * error / 2**6
            self._reach[queries] = torch.where(every > 0, reach, math.inf)
        wanted = self._is_wanted(queries, matches, scores)
        floor = torch.full((len(queries),), math.inf)
        floor.scatter_reduce_(0, matches.row[wanted], scores.low[wanted], reduce="amin")
        ceiling = torch.where(scores.best_high.isinf(), math.inf, scores.best_high)  # (b,)
        self._floor[queries], self._ceiling[queries] = floor.bfloat16(), ceiling.bfloat16()
        inside = (bits >= least_bfloat16_bits(floor)[:, None]) & (bits <= largest_bfloat16_bits(ceiling)[:, None])
        self.expected[queries] = torch.from_numpy(_count_in_rows(inside) / share).float()
        return True

    def sweep(self, start: int, stop: int, threads: int, on_queries: Callable[[int], object]) -> bool:
        """Look for those of queries ``start:stop`` that have been planned; False where none has."""
        some = slice(start, stop)
        if not self._ceiling[some].isfinite().any():
            return False
        most = (2 * self.expected[some] + SLACK).long().clamp(max=MOST_KEPT)
        floor, ceiling = self._floor[some], self._ceiling[some]
        if (floor > 0).all():
            # Positive scores are quicker to compare; of queries that seek nothing, counting some is enough.
            ceiling = torch.where(floor.isinf(), ceiling.clamp(min=0), ceiling)
        bands = Bands(floor, ceiling, self._self_index[some], most)

        def queries_of(begin: int, end: int) -> Tensor:
            return self._source.bfloat16_queries(torch.arange(start + begin, start + end))[0]  # (b, D')

        symmetric = self._source.bfloat16_is_symmetric and stop - start == self._size
        self._begin, self._found = start, None  # frees what was found before
        error = self._error[some] if self._seeks_nearest else None
        self._found = sweep(queries_of, self._source.bfloat16_images, bands, symmetric, threads, on_queries, error)
        return True

    def nearest(self, queries: Tensor, matches: MatchList) -> PrefilterResult:
        """What the last sweep found for consecutive ``queries`` (b,), which it covered."""
        assert self._found is not None
        start, stop = int(queries[0]) - self._begin, int(queries[-1]) + 1 - self._begin
        scores = self._match_scores(queries, matches)
        is_wanted = self._is_wanted(queries, matches, scores)  # (P,)
        beyond = torch.from_numpy(self._found.above[start:stop])
        deep = torch.from_numpy(self._found.too_many[start:stop])
        # Where the sample had enough non-matches above the nearest match, and the gallery does not.
        counted_only = (
            torch.zeros_like(deep).index_fill(0, matches.row, True).index_fill(0, matches.row[is_wanted], False)
        )
        deep = deep | (counted_only & (beyond < self._first))
        wanted = (is_wanted & ~deep[matches.row]).nonzero()[:, 0]  # (p,)
        whose = matches.row[wanted]
        kept = self._found.kept(start, stop)
        begin, end, row_end = kept.between(whose, scores.low[wanted], scores.high[wanted])  # (p,) each
        # Non-matches surely ranked above it: now that all have been seen, fewer matches matter.
        match_counts = torch.bincount(matches.row, minlength=len(queries))  # (b,)
        above = beyond[whose] + row_end - end - match_counts[whose]  # (p,)
        matters = (above < self._every[queries][whose]) | (scores.may_be_first[wanted] & (above < self._first))
        wanted, whose, begin, row_end = wanted[matters], whose[matters], begin[matters], row_end[matters]

        last = torch.zeros_like(beyond).scatter_reduce(0, whose, row_end, reduce="amax")  # (b,)
        row, image = kept.images(last.scatter_reduce(0, whose, begin, reduce="amin"), last)  # (N,) each
        value = self._source.single_pairs(queries[row], image)  # (N,)
        score = scores.score[wanted]  # (p,)
        error = (2 * self._source.single_pairs_error(queries)).float()[whose]  # twice: the match's and the other's
        return PrefilterResult(
            wanted,
            score - error,
            score + error,
            beyond,
            row,
            image,
            value,
            ANY_FLOAT,
            deep,
            lambda asked: self._nearest_candidates(queries, asked),
        )

    def _nearest_candidates(self, queries: Tensor, asked: Tensor) -> NearestCandidates:
        """Which images the last sweep and float32 leave open to be the nearest of ``queries[asked]`` (r,)."""
        assert self._found is not None
        assert self._found.nearest is not None
        start, stop = int(queries[0]) - self._begin, int(queries[-1]) + 1 - self._begin
        nth = torch.full((len(queries),), -1).index_copy(0, asked, torch.arange(len(asked)))  # (b,)
        row, image = self._found.nearest.of(start, stop)
        row, image = nth[row][nth[row] >= 0], image[nth[row] >= 0]  # (N,)
        value = self._source.single_pairs(queries[asked[row]], image)
        best = torch.full((len(asked),), -math.inf).scatter_reduce(0, row, value, reduce="amax")  # (r,)
        may_be = value >= (best - (2 * self._source.single_pairs_error(queries[asked])).float())[row]
        unclear = torch.from_numpy(self._found.nearest.unclear[start:stop])[asked] | best.isinf()
        return NearestCandidates(row[may_be], image[may_be], unclear)

    def _match_scores(self, queries: Tensor, matches: MatchList) -> _MatchScores:
        score = self._source.single_pairs(queries[matches.row], matches.image)  # (P,)
        error = self._error[queries[matches.row]]  # (P,)
        low, high = ((score + change).bfloat16().float() for change in (-error, error))  # rounding keeps the order
        lowest = torch.full((len(queries),), -math.inf)
        best_low, best_high = (lowest.scatter_reduce(0, matches.row, bound, reduce="amax") for bound in (low, high))
        return _MatchScores(score, low, high, high >= best_low[matches.row], best_high)

    def _is_wanted(self, queries: Tensor, matches: MatchList, scores: _MatchScores) -> Tensor:
        """Which matches (P,) may matter: all that may be the nearest, where that is sought, and all in reach."""
        sought = scores.may_be_first & self._seeks_first[queries][matches.row]
        return sought | (scores.high >= self._reach[queries][matches.row])


def bfloat16_pays(shape: tuple[int, ...], every: Tensor) -> bool:
    """Whether bfloat16 beats float32 for a gallery of ``shape`` (G, D) and ranks up to ``every`` (Q,).

    The time saved on the product grows with G D; sampling and keeping grow with the root of G times the ranks.
    """
    size, dimensions = shape
    return size >= LEAST_GALLERY and size * dimensions**2 > 2**27 * max(1.0, float(every.double().mean()))


def _sample_size(size: int, every: Tensor) -> int:
    """How many of ``size`` gallery images to sample where ranks up to ``every`` (Q,) matter.

    The rank of the sample's n-th image among all, and with it the number of images kept, falls as the sample grows.
    """
    ranks = float(every.double().mean())
    least_effort = math.sqrt(KEEPING * ranks * size)
    return int(max(LEAST_SAMPLE, 2 * int(every.max()), least_effort, ranks * size / KEPT_BY_QUERY))


def _count_in_rows(flags: Flags) -> Integers32:
    """How many of ``flags`` (b, S) are true in each row (b,)."""
    counts: Integers32 = np.add.reduce(flags, axis=1, dtype=np.int32)
    return counts
