"""The ranks of the right images, which is all that most retrieval scores read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from metricforge.arrays import Array, Floats, Indices
from metricforge.evaluation.ranking.rank_counter import BEYOND, SHALLOW, RankCounter
from metricforge.evaluation.search.exact_knn import full_precision
from metricforge.evaluation.search.parallel_map import parallel_map, threads_for_blocks

if TYPE_CHECKING:
    from metricforge.evaluation.context import EvaluationContext

ROWS_AT_ONCE = 512
ROWS_OF_PRODUCT = 128  # matrix libraries are quickest with a multiple of it
PAIRWISE_ROWS_AT_ONCE = 128
MATCHES_AT_ONCE = 2**20


class Depth(NamedTuple):
    """Which ranks a score reads: the first right image's up to ``first``, those of all right images up to ``every``.

    With ``up_to_r`` also those of all right images up to R, how many of them the query has in the gallery.
    """

    first: int = 0
    every: int = 0
    up_to_r: bool = False

    def joined(self, other: Depth) -> Depth:
        """What serves both."""
        return Depth(max(self.first, other.first), max(self.every, other.every), self.up_to_r or other.up_to_r)

    def largest(self, context: EvaluationContext) -> int:
        """The deepest rank of any query."""
        return max(1, self.first, self.every, int(context.matches.max()) if self.up_to_r else 0)


class MatchRanks(NamedTuple):
    """Ranks of right images for a block of consecutive queries.

    ``queries`` (b,) are the queries' places and ``matches`` (b,) how many right images each has; ``row`` (P,) is the
    place in the block that each right image belongs to, ascending, ``nth`` (P,) counts the right images of a query from
    1 on, by rank, and ``rank`` (P,) is where they stand, from 1 on: above 2**62 for those further away than was asked.
    """

    queries: Indices
    matches: Indices
    row: Indices
    nth: Indices
    rank: Indices

    @property
    def first(self) -> Indices:
        """The rank of the first right image of each query (b,); above 2**62 for those without one."""
        first = np.full(len(self.queries), 2 * BEYOND - 1)
        first[self.row[self.nth == 1]] = self.rank[self.nth == 1]
        return first

    def sum_by_query(self, values: Array) -> Floats:
        """The sums (b,) over the right images of each query of ``values`` (P,)."""
        return np.bincount(self.row, values, minlength=len(self.queries)).astype(np.float64)


def match_ranks(
    context: EvaluationContext, depth: Depth, on_queries: Callable[[int], object] = lambda count: None
) -> Iterator[MatchRanks]:
    """The ranks of the right images of all queries, block by block, as deep as ``depth`` says.

    Ties are by place in the gallery, and a query that stands in the gallery is left out of its own ranking. A learned
    similarity's shallow ranks are read from its neighbours, which a symmetric one finds in half the time.
    """
    if is_read_from_neighbours(context, depth):
        yield from ranks_among_neighbours(context, depth)
        return
    with full_precision(context.device), torch.no_grad():
        every = context.matches if depth.up_to_r else np.zeros_like(context.matches)
        counter = RankCounter(context, depth.first, every.clip(min=depth.every))
        threads = threads_for_blocks() if counter.is_shared_by_threads else 1

        @torch.no_grad()  # which a thread has to say for itself
        def ranks_of_block(block: tuple[int, int]) -> MatchRanks:
            right, above = counter.count(torch.arange(*block, device=counter.device))
            return _by_rank(context, *block, right.row.cpu().numpy(), above.cpu().numpy())

        for blocks, was_told in counter.look_ahead(list(_blocks(context, threads)), threads, on_queries):
            for ranks in parallel_map(ranks_of_block, blocks, threads):
                yield ranks
                if not was_told:
                    on_queries(len(ranks.queries))


def _blocks(context: EvaluationContext, threads: int) -> Iterator[tuple[int, int]]:
    """Where blocks of queries begin and end, of which ``threads`` may be worked on at a time."""
    ends = np.cumsum(context.matches)
    most = ROWS_AT_ONCE if context.similarity.search is not None else PAIRWISE_ROWS_AT_ONCE
    most = min(most, max(1, context.scores_at_once // len(context.gallery) // threads))
    most = most // ROWS_OF_PRODUCT * ROWS_OF_PRODUCT or most
    start = 0
    while start < len(context.queries):
        right_before = ends[start] - context.matches[start]
        affordable = int(np.searchsorted(ends, right_before + MATCHES_AT_ONCE, side="right"))
        stop = min(start + most, max(start + 1, affordable), len(context.queries))
        yield start, stop
        start = stop


def is_read_from_neighbours(context: EvaluationContext, depth: Depth) -> bool:
    """Whether ``match_ranks`` reads the nearest neighbours, as many as ``depth`` asks for."""
    return context.similarity.search is None and SHALLOW * depth.largest(context) <= len(context.gallery)


def ranks_among_neighbours(context: EvaluationContext, depth: Depth) -> Iterator[MatchRanks]:
    """The same from the nearest neighbours, as many as ``depth`` asks for."""
    hits = context.hits(min(depth.largest(context), context.gallery_size))  # (Q, K)
    for start in range(0, len(hits), ROWS_AT_ONCE):
        block = hits[start : start + ROWS_AT_ONCE]
        row, rank = block.nonzero()
        wrong = rank - _indices_in_runs(row)
        missing = context.matches[start : start + len(block)] - block.sum(axis=1)
        row = np.concatenate([row, np.repeat(np.arange(len(block)), missing)])
        wrong = np.concatenate([wrong, np.full(missing.sum(), BEYOND)])
        yield _by_rank(context, start, start + len(block), row, wrong)


def _by_rank(context: EvaluationContext, start: int, stop: int, row: Indices, non_matches_above: Indices) -> MatchRanks:
    # Whoever has more wrong images before it is further away, so their order among each other need not be known.
    order = np.lexsort((non_matches_above, row))
    row = row[order]
    nth = _indices_in_runs(row) + 1
    return MatchRanks(np.arange(start, stop), context.matches[start:stop], row, nth, nth + non_matches_above[order])


def _indices_in_runs(values: Indices) -> Indices:
    """The place of each of ``values`` (N,), ascending, among those equal to it, from 0 on."""
    return np.arange(len(values)) - np.searchsorted(values, values)
