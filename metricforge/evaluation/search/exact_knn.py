"""Exact nearest neighbours, block by block: the same from every block size, with ties in sample order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Array, Indices
from metricforge.evaluation.search.blas import product_threads
from metricforge.evaluation.search.hamming_knn import hamming_knn, packed_embeddings
from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.evaluation.search.pairwise_scores import PairwiseScores
from metricforge.evaluation.search.symmetric_knn import symmetric_knn
from metricforge.evaluation.search.ties_by_index import in_exact_order
from metricforge.interfaces import Similarity

SPARE = 32  # neighbours fetched beyond k, so that ties at rank k rarely need a second look


@torch.no_grad()
def exact_knn(
    queries: Array | None,
    gallery: Array,
    similarity: Similarity,
    k: int,
    *,
    device: torch.device | str = "cpu",
    scores_at_once: int = 2**24,
    on_queries: Callable[[int], object] = lambda count: None,
) -> Indices:
    """Indices (Q, k) of the ``k`` most similar ``gallery`` images (G, D) of each query (Q, D), best first.

    Ties go to the smaller index. Where ``similarity.search`` is "l2" or "ip", a float32 matrix product finds the
    candidates and whatever its rounding leaves undecided is compared in float64, so that neither the block size nor
    the matrix library changes the result. Where it is "hamming", faiss's binary index compares packed bits; otherwise
    ``similarity.pairwise`` decides alone, for each pair once where the gallery is searched with itself and the
    similarity says that it is symmetric.

    Args:
        queries: None searches the gallery with itself, each image left out of its own neighbours.
        gallery: of any float type; computed in float32.
        similarity: on ``device`` and in evaluation mode.
        k: at most G, or G - 1 where the gallery is searched with itself.
        device: where it is computed.
        scores_at_once: at most so many scores are held in memory, but no fewer than one query's.
        on_queries: called with the number of queries after each block of them, for a progress bar.

    Raises:
        ValueError: for a ``k`` below 1 or beyond the gallery, scores that are not finite, or bits that fill no bytes.
    """
    available = len(gallery) - (queries is None)
    if not 1 <= k <= available:
        itself = ", one of them the query itself" if queries is None else ""
        raise ValueError(f"k ({k}) must be in 1..{available}: the gallery has {len(gallery)} images{itself}")
    if similarity.search == "hamming":
        codes = packed_embeddings(gallery, similarity, torch.device(device))  # (G, D / 8)
        query_codes = None if queries is None else packed_embeddings(queries, similarity, torch.device(device))
        return hamming_knn(query_codes, codes, k, distances_at_once=scores_at_once)
    by_product = similarity.search in ("l2", "ip")
    source = InnerProductScores if by_product else PairwiseScores
    count = len(gallery if queries is None else queries)
    rows = max(1, scores_at_once // len(gallery))
    rows = rows if by_product else min(rows, 128)
    neighbours = np.empty((count, k), dtype=np.int64)
    with full_precision(torch.device(device)), product_threads(torch.get_num_threads()):
        scores = source(queries, gallery, similarity, torch.device(device))
        if isinstance(scores, PairwiseScores) and queries is None and similarity.symmetric:
            return symmetric_knn(scores, count, k, rows, on_queries).cpu().numpy()
        for start in range(0, count, rows):
            stop = min(start + rows, count)
            block, slack = scores.rough(start, stop)  # (b, G), (b,)
            if queries is None:
                block[torch.arange(stop - start), torch.arange(start, stop)] = -torch.inf
            neighbours[start:stop] = _nearest(block, slack, k, scores, start).cpu().numpy()
            on_queries(stop - start)
    return neighbours


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Float32 products as float32: the error bound knows nothing of TF32 or of autocast."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _nearest(block: Tensor, slack: Tensor, k: int, scores: InnerProductScores | PairwiseScores, start: int) -> Tensor:
    """Columns (b, k) of the largest scores of ``block`` (b, G); its first row is query ``start``."""
    best, candidates = block.topk(min(k + SPARE, block.shape[1]))  # (b, k + SPARE)
    # At least k true scores reach the k-th rough one less its error, so whoever is below by twice the error is out.
    lowest = best[:, k - 1] - slack  # (b,)
    queries = torch.arange(start, start + len(block), device=block.device)
    nearest = in_exact_order(best, candidates, slack, lowest, queries, scores)[:, :k]
    undecided = best[:, -1] >= lowest
    if best.shape[1] < block.shape[1]:
        for row in undecided.nonzero()[:, 0].tolist():
            candidates = (block[row] >= lowest[row]).nonzero()[:, 0]
            best, order = block[row, candidates].sort(descending=True)
            one = slice(row, row + 1)
            whole_row = in_exact_order(
                best[None], candidates[order][None], slack[one], lowest[one], queries[one], scores
            )
            nearest[row] = whole_row[0, :k]
    return nearest
