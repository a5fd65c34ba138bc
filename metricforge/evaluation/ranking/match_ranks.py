"""The ranks of the matches, which is all that most retrieval scores read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from metricforge.arrays import Array, Floats, Indices
from metricforge.evaluation.ranking.rank_counter import BEYOND, SHALLOW, RankCounter
from metricforge.evaluation.search.exact_knn import full_precision
from metricforge.evaluation.search.parallel_map import parallel_map, threads_for_blocks
from metricforge.evaluation.search.retrieval_task import RetrievalTask
from metricforge.interfaces import Similarity

QUERIES_AT_ONCE = 512
ROWS_OF_PRODUCT = 128  # matrix libraries are quickest with a multiple of it
PAIRWISE_QUERIES_AT_ONCE = 128
MATCHES_AT_ONCE = 2**20


class Depth(NamedTuple):
    """Which ranks a score reads: the first match's up to ``first``, those of all matches up to ``every``.

    With ``up_to_r`` also those of all matches up to R, how many of them the query has in the gallery.
    """

    first: int = 0
    every: int = 0
    up_to_r: bool = False

    def joined(self, other: Depth) -> Depth:
        """What serves both."""
        return Depth(max(self.first, other.first), max(self.every, other.every), self.up_to_r or other.up_to_r)

    def largest(self, task: RetrievalTask) -> int:
        """The deepest rank of any query."""
        return max(1, self.first, self.every, int(task.matches.max()) if self.up_to_r else 0)


class MatchRanks(NamedTuple):
    """Ranks of the matches of a block of consecutive queries.

    ``queries`` (b,) are the queries' indices and ``matches`` (b,) how many matches each has; ``row`` (P,) is the row of
    the block that each match belongs to, ascending, ``nth`` (P,) counts the matches of a query from 1 on, by rank, and
    ``rank`` (P,) are their ranks, from 1 on: above 2**62 for those further away than was asked. ``nearest_label`` (b,)
    is the class of each query's nearest image, None unless it was asked.
    """

    queries: Indices
    matches: Indices
    row: Indices
    nth: Indices
    rank: Indices
    nearest_label: Indices | None = None

    @property
    def first(self) -> Indices:
        """The rank of the first match of each query (b,); above 2**62 for those without one."""
        first = np.full(len(self.queries), 2 * BEYOND - 1)
        first[self.row[self.nth == 1]] = self.rank[self.nth == 1]
        return first

    def sum_by_query(self, values: Array) -> Floats:
        """The sums (b,) over the matches of each query of ``values`` (P,)."""
        return np.bincount(self.row, values, minlength=len(self.queries)).astype(np.float64)


def match_ranks(
    task: RetrievalTask,
    similarity: Similarity,
    depth: Depth,
    *,
    nearest: bool = False,
    device: torch.device | str = "cpu",
    scores_at_once: int = 2**25,
    on_queries: Callable[[int], object] = lambda count: None,
) -> Iterator[MatchRanks]:
    """Yield the ranks of the matches of all queries, block by block, as deep as ``depth`` says.

    Ties are ranked by gallery index, and a query that is in the gallery is left out of its own ranking.

    Args:
        task: what is searched in what.
        similarity: on ``device`` and in evaluation mode.
        depth: which ranks are read.
        nearest: whether to tell the class of each query's nearest image as well; not where the task excludes images.
        device: where it is computed.
        scores_at_once: at most so many scores are held in memory, but no fewer than one query's.
        on_queries: called with the number of queries that are done, for a progress bar.
    """
    assert not nearest or task.exclude is None
    device = torch.device(device)
    with full_precision(device), torch.no_grad():
        every = (task.matches if depth.up_to_r else np.zeros_like(task.matches)).clip(min=depth.every)
        first = depth.first
        if task.exclude is not None:  # what is left out may be nearer than any match, so nothing is cut off by rank
            first, every = len(task.gallery), np.full_like(every, len(task.gallery))
        counter = RankCounter(task, similarity, device, first, every, nearest)
        threads = threads_for_blocks() if counter.is_shared_by_threads else 1

        @torch.no_grad()  # which a thread has to say for itself
        def ranks_of_block(block: tuple[int, int]) -> MatchRanks:
            counts = counter.count(torch.arange(*block, device=counter.device))
            labels = None if counts.nearest_label is None else counts.nearest_label.cpu().numpy()
            row, image, above = (
                column.cpu().numpy() for column in (counts.matches.row, counts.matches.image, counts.above)
            )
            if task.exclude is not None:  # they are of the query's class, so no count of non-matches changes
                kept = ~task.is_left_out(row + block[0], image)
                row, above = row[kept], above[kept]
            return _by_rank(task, *block, row, above, labels)

        most = QUERIES_AT_ONCE if similarity.search is not None else PAIRWISE_QUERIES_AT_ONCE
        most = min(most, max(1, scores_at_once // len(task.gallery) // threads))
        for blocks, was_told in counter.look_ahead(list(_blocks(task, most)), threads, on_queries):
            for ranks in parallel_map(ranks_of_block, blocks, threads):
                yield ranks
                if not was_told:
                    on_queries(len(ranks.queries))


def _blocks(task: RetrievalTask, most: int) -> Iterator[tuple[int, int]]:
    """Where blocks of at most so many queries, and of few matches, begin and end."""
    ends = np.cumsum(task.matches)
    most = most // ROWS_OF_PRODUCT * ROWS_OF_PRODUCT or most
    start = 0
    while start < len(task.queries):
        matches_before = ends[start] - task.matches[start]
        affordable = int(np.searchsorted(ends, matches_before + MATCHES_AT_ONCE, side="right"))
        stop = min(start + most, max(start + 1, affordable), len(task.queries))
        yield start, stop
        start = stop


def is_read_from_neighbours(task: RetrievalTask, similarity: Similarity, depth: Depth) -> bool:
    """Whether ranks are quicker read from neighbours than counted: shallow ones of a learned similarity.

    A symmetric one finds neighbours in half the time.
    """
    return similarity.search is None and SHALLOW * depth.largest(task) <= len(task.gallery)


def ranks_among_neighbours(task: RetrievalTask, neighbours: Indices) -> Iterator[MatchRanks]:
    """Yield the ranks of those matches that are among the nearest ``neighbours`` (Q, K), block by block."""
    hits = task.gallery.labels[neighbours] == task.queries.labels[:, None]  # (Q, K), none of them left out
    for start in range(0, len(hits), QUERIES_AT_ONCE):
        block = hits[start : start + QUERIES_AT_ONCE]
        row, index = block.nonzero()
        above = index - _indices_in_runs(row)
        missing = task.matches[start : start + len(block)] - block.sum(axis=1)
        row = np.concatenate([row, np.repeat(np.arange(len(block)), missing)])
        above = np.concatenate([above, np.full(missing.sum(), BEYOND)])
        yield _by_rank(task, start, start + len(block), row, above)


def _by_rank(
    task: RetrievalTask,
    start: int,
    stop: int,
    row: Indices,
    non_matches_above: Indices,
    nearest_label: Indices | None = None,
) -> MatchRanks:
    # A match with more non-matches above it is further away, so the order of matches need not be known.
    order = np.lexsort((non_matches_above, row))
    row = row[order]
    nth = _indices_in_runs(row) + 1
    rank = nth + non_matches_above[order]
    return MatchRanks(np.arange(start, stop), task.matches[start:stop], row, nth, rank, nearest_label)


def _indices_in_runs(values: Indices) -> Indices:
    """The index of each of ``values`` (N,), ascending, among those equal to it, from 0 on."""
    return np.arange(len(values)) - np.searchsorted(values, values)
