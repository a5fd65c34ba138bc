"""What bfloat16 products tell of the ranks of right images, in half the time of float32's or, of one set, a quarter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Flags, Integers32
from metricforge.evaluation.ranking.bfloat16_sweep import LOWEST, Banded, Bands, sweep
from metricforge.evaluation.ranking.candidates import ANY_FLOAT
from metricforge.evaluation.ranking.prefilter_result import MatchList, NearestCandidates, PrefilterResult
from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.evaluation.search.sortable_bits import (
    largest_bfloat16_bits,
    least_bfloat16_bits,
    scores_of_bfloat16_bits,
    sortable_bfloat16_bits,
)

LEAST_SAMPLE = 2**11  # images whose scores are looked at beforehand
KEEPING = 16  # so many times as long as looking at a score of the sample takes keeping an image
KEPT_BY_QUERY = 2**10  # images that a query is to keep at most on average
MOST_KEPT = 2**15  # images of a query; where there would be more, whole rows are compared
LEAST_GALLERY = 2**12  # images from which on a product in bfloat16 pays
SLACK = 256  # images that a query may keep beyond twice what the sample tells


class _MatchScores(NamedTuple):
    """Float32 scores (P,) of right images, their bounds in bfloat16 (P,), and the upper one of the nearest (b,)."""

    score: Tensor
    low: Tensor
    high: Tensor
    may_be_first: Tensor
    best_high: Tensor


class Bfloat16Prefilter:
    """Finds the images that may be before the right ones by one sweep over the bfloat16 scores of many queries.

    ``plan`` learns from a sample of the gallery how far each query has to look, ``sweep`` looks, and ``nearest`` says
    what was found for a block of the queries.

    Args:
        own: each query's place in the gallery (Q,), -1: none.
        first: the nearest right image is of interest up to this rank.
        every: right images are of interest up to this rank of each query (Q,).
    """

    def __init__(
        self, source: InnerProductScores, own: Tensor, first: int, every: Tensor, *, nearest: bool = False
    ) -> None:
        self._source, self._own, self._first, self._every = source, own, first, every
        self._seeks_nearest = nearest
        images = source.bfloat16_images
        self._size = len(images)
        self._step = max(1, self._size // _sample_size(self._size, every))
        self._sample = torch.arange(0, self._size, self._step)  # (S,)
        self._sampled_images = images[self._sample]  # (S, D')
        self._error = torch.zeros(len(own))  # of scores before they are rounded
        self._reach = torch.full((len(own),), math.inf)  # who scores less is surely beyond the ranks of interest
        self._seeks_first = torch.zeros(len(own), dtype=torch.bool)
        self._floor, self._ceiling = torch.full((2, len(own)), math.inf, dtype=torch.bfloat16)
        self.expected = torch.zeros(len(own))  # images that each query is going to keep (Q,)
        self._begin = 0
        self._found: Banded | None = None

    def plan(self, queries: Tensor, right: MatchList) -> bool:
        """How far ``queries`` (b,) have to look; False where bfloat16 products are not what they are taken for."""
        halved, error = self._source.bfloat16_queries(queries)  # (b, D'), (b,)
        table = sortable_bfloat16_bits(torch.mm(halved, self._sampled_images.T))  # (b, S)
        rows = np.arange(len(table))
        # No bound would hold then: compare the largest scores with what they should be.
        largest = table.argmax(axis=1)
        known = self._source.single_pairs(queries, self._sample[largest]).double()  # (b,)
        wrong_by = (scores_of_bfloat16_bits(table[rows, largest]).double() - known).abs() - known.abs() / 2**7
        if (wrong_by > error).any():
            return False
        own, rest = np.divmod(self._own[queries].numpy(), self._step)
        itself = np.flatnonzero((rest == 0) & (own >= 0))
        table[itself, own[itself]] = LOWEST
        error = self._error[queries] = error.float()

        scores = self._match_scores(queries, right)
        share = len(self._sample) / self._size
        if self._first:  # of others it is enough to count that so many are before
            above = _count_in_rows(table > largest_bfloat16_bits(scores.best_high)[:, None])  # (b,)
            self._seeks_first[queries] = torch.from_numpy(above <= 2 * self._first * share + 8)
        every = self._every[queries]
        if (deepest := int(every.max())) > 0:
            # In the sample alone as many images as `every` score at least so much.
            nearest = np.sort(np.partition(table, -deepest, axis=1)[:, -deepest:], axis=1)  # (b, deepest)
            reach = scores_of_bfloat16_bits(nearest[rows, -every.clamp(min=1).numpy()]) - 2 * error  # (b,)
            reach = reach - reach.abs() / 2**6 - 2 * error / 2**6
            self._reach[queries] = torch.where(every > 0, reach, math.inf)
        wanted = self._is_wanted(queries, right, scores)
        floor = torch.full((len(queries),), math.inf)
        floor.scatter_reduce_(0, right.row[wanted], scores.low[wanted], reduce="amin")
        ceiling = torch.where(scores.best_high.isinf(), math.inf, scores.best_high)  # (b,)
        self._floor[queries], self._ceiling[queries] = floor.bfloat16(), ceiling.bfloat16()
        inside = (table >= least_bfloat16_bits(floor)[:, None]) & (table <= largest_bfloat16_bits(ceiling)[:, None])
        self.expected[queries] = torch.from_numpy(_count_in_rows(inside) / share).float()
        return True

    def sweep(self, start: int, stop: int, threads: int, on_queries: Callable[[int], object]) -> bool:
        """Looks for those of queries ``start:stop`` that have been planned, and says whether there were any."""
        some = slice(start, stop)
        if not self._ceiling[some].isfinite().any():
            return False
        most = (2 * self.expected[some] + SLACK).long().clamp(max=MOST_KEPT)
        floor, ceiling = self._floor[some], self._ceiling[some]
        if (floor > 0).all():
            # Numbers above 0 are quicker to compare, and of queries that seek nothing it is enough to count some.
            ceiling = torch.where(floor.isinf(), ceiling.clamp(min=0), ceiling)
        bands = Bands(floor, ceiling, self._own[some], most)

        def queries_of(begin: int, end: int) -> Tensor:
            return self._source.bfloat16_queries(torch.arange(start + begin, start + end))[0]  # (b, D')

        symmetric = self._source.bfloat16_is_symmetric and stop - start == self._size
        self._begin, self._found = start, None  # frees what was found before
        error = self._error[some] if self._seeks_nearest else None
        self._found = sweep(queries_of, self._source.bfloat16_images, bands, symmetric, threads, on_queries, error)
        return True

    def nearest(self, queries: Tensor, right: MatchList) -> PrefilterResult:
        """What the last sweep found for consecutive ``queries`` (b,) of it."""
        assert self._found is not None
        start, stop = int(queries[0]) - self._begin, int(queries[-1]) + 1 - self._begin
        scores = self._match_scores(queries, right)
        is_wanted = self._is_wanted(queries, right, scores)  # (P,)
        beyond = torch.from_numpy(self._found.above[start:stop])
        deep = torch.from_numpy(self._found.too_many[start:stop])
        # Where the sample had enough wrong images before the nearest right one, and the gallery does not.
        counted_only = torch.zeros_like(deep).index_fill(0, right.row, True).index_fill(0, right.row[is_wanted], False)
        deep = deep | (counted_only & (beyond < self._first))
        wanted = (is_wanted & ~deep[right.row]).nonzero()[:, 0]  # (p,)
        whose = right.row[wanted]
        kept = self._found.kept(start, stop)
        begin, end, row_end = kept.between(whose, scores.low[wanted], scores.high[wanted])  # (p,) each
        # So many wrong ones are surely before it: now that all have been seen, fewer right ones matter.
        matches = torch.bincount(right.row, minlength=len(queries))  # (b,)
        before = beyond[whose] + row_end - end - matches[whose]  # (p,)
        matters = (before < self._every[queries][whose]) | (scores.may_be_first[wanted] & (before < self._first))
        wanted, whose, begin, row_end = wanted[matters], whose[matters], begin[matters], row_end[matters]

        last = torch.zeros_like(beyond).scatter_reduce(0, whose, row_end, reduce="amax")  # (b,)
        row, image = kept.images(last.scatter_reduce(0, whose, begin, reduce="amin"), last)  # (N,) each
        value = self._source.single_pairs(queries[row], image)  # (N,)
        score = scores.score[wanted]  # (p,)
        error = (2 * self._source.single_pairs_error(queries)).float()[whose]  # twice: the right one's and the other's
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

    def _match_scores(self, queries: Tensor, right: MatchList) -> _MatchScores:
        score = self._source.single_pairs(queries[right.row], right.image)  # (P,)
        error = self._error[queries[right.row]]  # (P,)
        low, high = ((score + change).bfloat16().float() for change in (-error, error))  # rounding keeps the order
        lowest = torch.full((len(queries),), -math.inf)
        best_low, best_high = (lowest.scatter_reduce(0, right.row, bound, reduce="amax") for bound in (low, high))
        return _MatchScores(score, low, high, high >= best_low[right.row], best_high)

    def _is_wanted(self, queries: Tensor, right: MatchList, scores: _MatchScores) -> Tensor:
        """Which right images (P,) may matter: all that may be the nearest, where that is sought, and all in reach."""
        sought = scores.may_be_first & self._seeks_first[queries][right.row]
        return sought | (scores.high >= self._reach[queries][right.row])


def bfloat16_pays(shape: tuple[int, ...], every: Tensor) -> bool:
    """Whether that is quicker than tables of float32 for a gallery of ``shape`` (G, D) and ranks up to ``every`` (Q,).

    The product that is saved grows with G D, sampling and keeping with the root of G times the ranks.
    """
    size, dimensions = shape
    return size >= LEAST_GALLERY and size * dimensions**2 > 2**27 * max(1.0, float(every.double().mean()))


def _sample_size(size: int, every: Tensor) -> int:
    """Of how many of ``size`` images to look at the scores beforehand, where ranks up to ``every`` (Q,) matter.

    The rank that the sample's n-th has among all, and with it how many are kept, falls as the sample grows.
    """
    ranks = float(every.double().mean())
    least_effort = math.sqrt(KEEPING * ranks * size)
    return int(max(LEAST_SAMPLE, 2 * int(every.max()), least_effort, ranks * size / KEPT_BY_QUERY))


def _count_in_rows(flags: Flags) -> Integers32:
    """How many of ``flags`` (b, S) are true in each row (b,)."""
    counts: Integers32 = np.add.reduce(flags, axis=1, dtype=np.int32)
    return counts
