"""A ranking in which one similarity finds a shortlist and another re-ranks it."""

from __future__ import annotations

import numpy as np
import torch

from metricforge.arrays import Indices
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.search.pairwise_scores import require_finite

NUMBERS_AT_ONCE = 2**22  # floats of the shortlists' embeddings that one step holds


def reranked_context(found: EvaluationContext, exact: EvaluationContext, shortlist: int) -> EvaluationContext:
    """Re-rank the first ``shortlist`` neighbours by another similarity; those beyond keep their order.

    Args:
        found: finds the shortlists, by its own similarity.
        exact: the same images under the similarity that re-ranks.
        shortlist: how many neighbours of each query to re-rank, at least 1; all where there are fewer.
    """
    length = min(shortlist, exact.gallery_size)  # L

    def search(k: int) -> Indices:
        neighbours = found.neighbours(max(k, length)).copy()  # (Q, max(k, L))
        neighbours[:, :length] = _in_order(exact, neighbours[:, :length])
        return neighbours[:, :k]

    return exact.with_neighbours(search)


def _in_order(exact: EvaluationContext, shortlists: Indices) -> Indices:
    """Sort ``shortlists`` (Q, L) by the similarity of ``exact``, ties by gallery index."""
    # By gallery index first, so that a stable sort breaks ties by it.
    lists = np.sort(shortlists, axis=1)  # (Q, L)
    queries, gallery, device = exact.queries.embeddings, exact.gallery.embeddings, exact.device
    name = type(exact.similarity).__name__
    step = max(1, NUMBERS_AT_ONCE // (lists.shape[1] * queries.shape[1]))
    with exact.progress(f"re-ranking by {name}", len(lists)) as advance, torch.no_grad():
        for start in range(0, len(lists), step):
            block = lists[start : start + step]  # (b, L)
            rows = torch.from_numpy(np.asarray(queries[start : start + step], dtype=np.float32))
            listed = torch.from_numpy(np.asarray(gallery[block], dtype=np.float32))  # (b, L, D)
            scores = exact.similarity.score_lists(rows.to(device), listed.to(device)).float()  # (b, L)
            require_finite(scores, f"{name}.score_lists", start, start + len(block))
            order = scores.argsort(dim=1, descending=True, stable=True).cpu().numpy()
            lists[start : start + step] = np.take_along_axis(block, order, axis=1)
            advance(len(block))
    return lists
