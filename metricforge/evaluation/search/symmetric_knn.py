"""Nearest neighbours of a set in itself by a symmetric similarity, each pair computed once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from metricforge.evaluation.search.pairwise_scores import PairwiseScores
from metricforge.evaluation.search.ties_by_index import columns_of_keys, keys_without_ties


def symmetric_knn(scores: PairwiseScores, count: int, k: int, rows: int, on_queries: Callable[[int], object]) -> Tensor:
    """Indices (N, k) of the ``k`` images most similar to each of ``count`` images, itself left out, best first.

    A block of images is scored against itself and all images behind it: that is the rest of its own ranking, and a part
    of theirs. Ties go to the smaller index. Beside a block of scores, N k keys are held in memory.

    Args:
        scores: of the set with itself.
        count: N.
        k: at most N - 1.
        rows: images in a block.
        on_queries: called with the number of images that are finished after each block.
    """
    best: Tensor | None = None  # (N, k) keys of what was found so far
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        block = scores.from_column(start, start, stop)  # (b, N - start)
        block.diagonal().fill_(-torch.inf)
        if best is None:
            best = torch.full((count, k), torch.iinfo(torch.int64).min, device=block.device)
        _keep_best(best[start:stop], block, start)
        _keep_best(best[stop:], block[:, stop - start :].T, start)
        on_queries(stop - start)
    assert best is not None, "a context never holds an empty set"
    return columns_of_keys(best)


def _keep_best(best: Tensor, scores: Tensor, first_column: int) -> None:
    """Put into ``best`` (b, k) the largest keys of its own and of ``scores`` (b, m), columns ``first_column`` on."""
    keys = torch.cat([best, keys_without_ties(scores, first_column)], dim=1)  # (b, k + m)
    best.copy_(keys.topk(best.shape[1], dim=1).values)
