"""What only the ranking of the whole gallery can tell, a block of queries at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metricforge.evaluation.neighbour_search import full_precision
from metricforge.evaluation.pairwise_scores import PairwiseScores
from metricforge.evaluation.prepared_embeddings import prepared_embeddings
from metricforge.evaluation.product_scores import ProductScores

if TYPE_CHECKING:
    from metricforge.evaluation.context import EvaluationContext

RANKS_AT_ONCE = 2**21  # a place takes some fifty bytes
ROWS_AT_ONCE = 128

Floats = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]


class WholeRankings(NamedTuple):
    """``average_precision`` (Q,) and ``reciprocal_rank`` (Q,) of the first right image; 0 for queries without a match.

    With right images at ranks r_1 < ... < r_R, the first is ``1/R sum_i i / r_i`` and the second ``1 / r_1``.
    """

    average_precision: Floats
    reciprocal_rank: Floats


@torch.no_grad()
def rank_whole_gallery(context: EvaluationContext, ranks_at_once: int = RANKS_AT_ONCE) -> WholeRankings:
    """Ranks the right images of each query in the whole gallery, ``ranks_at_once`` places at a time or one query's.

    Ties are in the gallery's order, and a query that stands in the gallery is left out of its own ranking. As in
    ``search_neighbours``, what the rounding of float32 leaves undecided is compared in float64, but only where a right
    image is concerned: the order of the wrong ones among each other is nobody's business.
    """
    queries, gallery = context.queries, context.gallery
    average_precision, reciprocal_rank = np.zeros(len(queries)), np.zeros(len(queries))
    rows = min(ROWS_AT_ONCE, max(1, ranks_at_once // len(gallery)))
    with full_precision(context.device):
        scores = _scores(context)
        for start in range(0, len(queries), rows):
            stop = min(start + rows, len(queries))
            row, rank = _ranks_of_right_images(context, scores, start, stop)  # (P,), (P,): by row, then by rank
            first = np.searchsorted(row, np.arange(stop - start))  # (b,)
            answerable = np.flatnonzero(context.matches[start:stop])
            if not len(answerable):
                continue
            nth = np.arange(1, len(row) + 1) - first[row]  # (P,)
            sums = np.add.reduceat(nth / rank, first[answerable])
            average_precision[start + answerable] = sums / context.matches[start + answerable]
            reciprocal_rank[start + answerable] = 1 / rank[first[answerable]]
    return WholeRankings(average_precision, reciprocal_rank)


class _SignProducts:
    """Products of signs: whole numbers that float32 holds exactly, falling as the Hamming distance rises."""

    def __init__(self, context: EvaluationContext) -> None:
        def signs(embeddings: np.ndarray[Any, Any]) -> Tensor:
            return 2 * prepared_embeddings(embeddings, context.similarity, context.device) - 1  # (N, D)

        self._gallery = signs(context.gallery.embeddings)
        self._queries = self._gallery if context.searches_itself else signs(context.queries.embeddings)

    def rough(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        scores = self._queries[start:stop] @ self._gallery.T  # (b, G)
        return scores, scores.new_zeros(len(scores))


def _scores(context: EvaluationContext) -> ProductScores | PairwiseScores | _SignProducts:
    if context.similarity.search == "hamming":
        return _SignProducts(context)
    queries = None if context.searches_itself else context.queries.embeddings
    source = PairwiseScores if context.similarity.search is None else ProductScores
    return source(queries, context.gallery.embeddings, context.similarity, context.device)


def _ranks_of_right_images(
    context: EvaluationContext, scores: ProductScores | PairwiseScores | _SignProducts, start: int, stop: int
) -> tuple[Indices, Indices]:
    """The ranks (P,), from 1 on, of all right images of queries ``start:stop``, and whose they are (P,), from 0 on."""
    block, slack = scores.rough(start, stop)  # (b, G), (b,)
    own = torch.from_numpy(context.own_place[start:stop]).to(block.device)  # (b,)
    here = (own >= 0).nonzero()[:, 0]
    block[here, own[here]] = -torch.inf
    labels = torch.from_numpy(context.gallery.labels).to(block.device)
    right = labels == torch.from_numpy(context.queries.labels[start:stop]).to(block.device)[:, None]  # (b, G)
    right[here, own[here]] = False
    block, order = block.sort(dim=1, descending=True, stable=True)
    right = right.gather(1, order)
    # Only what a right image may have to swap with needs an exact score: one less than the slack away from it.
    lowest_above = torch.where(right, block, torch.inf).cummin(dim=1).values  # (b, G)
    highest_below = torch.where(right, block, -torch.inf).flip(1).cummax(dim=1).values.flip(1)  # (b, G)
    close = (lowest_above - block <= slack[:, None]) | (block - highest_below <= slack[:, None])
    row, column = close.nonzero(as_tuple=True)  # (U,)
    image = order[row, column]
    exact = block[row, column].double()  # (U,): final but for those of float32 products
    if isinstance(scores, ProductScores):
        exact = scores.exact(row + start, image)
    decided_before = (~close).cumsum(dim=1)[row, column]  # (U,): surely nearer, and no right ones
    rows, images, is_right = row.cpu().numpy(), image.cpu().numpy(), right[row, column].cpu().numpy()
    by_rank = np.lexsort((images, -exact.cpu().numpy(), rows))  # (U,)
    nth = np.arange(len(rows)) - np.searchsorted(rows, np.arange(stop - start))[rows]  # (U,): its place among the close
    rank = 1 + nth + decided_before.cpu().numpy()[by_rank]
    chosen = is_right[by_rank]
    return rows[by_rank][chosen], rank[chosen]
