"""An experiment in which one similarity finds a shortlist and another puts it into order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from metricforge.arrays import Indices
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluator import RankEvaluator
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks, ranks_among_neighbours
from metricforge.evaluation.search.pairwise_scores import require_finite

NUMBERS_AT_ONCE = 2**22  # floats of the shortlists' embeddings that one step holds


class RerankedContext(EvaluationContext):
    """The first ``shortlist`` neighbours by one similarity, re-ordered by another; those behind them stay as they are.

    Args:
        found: finds the shortlists, by its own similarity.
        exact: the same images under the similarity that re-orders.
        shortlist: how many neighbours of a query are re-ordered, at least 1; all where there are fewer.
    """

    def __init__(self, found: EvaluationContext, exact: EvaluationContext, shortlist: int) -> None:
        gallery = None if exact.searches_itself else exact.gallery
        super().__init__(
            exact.queries,
            exact.similarity,
            gallery,
            exact.seed,
            exact.device,
            exact.shared_ids,
            exact.scores_at_once,
            exact.progress,
            exact.clustering,
        )
        self._found = found
        self._shortlist = min(shortlist, self.gallery_size)

    def neighbours_for_ranks(self, evaluators: Sequence[RankEvaluator]) -> int:
        return self._depth(evaluators).largest(self)

    def _match_ranks(self, depth: Depth) -> Iterator[MatchRanks]:
        """Of the re-ordered neighbours."""
        return ranks_among_neighbours(self, depth)

    def _search(self, k: int) -> Indices:
        neighbours = self._found.neighbours(max(k, self._shortlist)).copy()  # (Q, max(k, L))
        # In the gallery's order first, so that ties of the second similarity stay in it.
        lists = np.sort(neighbours[:, : self._shortlist], axis=1)  # (Q, L)
        name = type(self.similarity).__name__
        step = max(1, NUMBERS_AT_ONCE // (self._shortlist * self.queries.embeddings.shape[1]))
        with self.progress(f"re-ranking by {name}", len(lists)) as advance, torch.no_grad():
            for start in range(0, len(lists), step):
                block = lists[start : start + step]  # (b, L)
                rows = torch.from_numpy(np.asarray(self.queries.embeddings[start : start + step], dtype=np.float32))
                listed = torch.from_numpy(np.asarray(self.gallery.embeddings[block], dtype=np.float32))  # (b, L, D)
                scores = self.similarity.score_lists(rows.to(self.device), listed.to(self.device)).float()  # (b, L)
                require_finite(scores, f"{name}.score_lists", start, start + len(block))
                order = scores.argsort(dim=1, descending=True, stable=True).cpu().numpy()
                neighbours[start : start + step, : self._shortlist] = np.take_along_axis(block, order, axis=1)
                advance(len(block))
        return neighbours[:, :k]
