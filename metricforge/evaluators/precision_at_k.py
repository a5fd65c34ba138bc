"""Precision@K: the share of matches among the first K."""

from __future__ import annotations

from collections.abc import Sequence

from metricforge.arrays import Array
from metricforge.evaluation.evaluator import RankEvaluator
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks
from metricforge.evaluators.cutoffs import checked_ks, largest_k
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class PrecisionAtK(RankEvaluator):
    """The share of matches among the K nearest images, as ``precision@K``, in 0..1.

    Always divided by K: a query with fewer than K matches in the gallery cannot reach 1. Queries without a match
    are left out. Precision@1 is Recall@1.

    Args:
        ks: the values of K.

    Raises:
        ValueError: unless ``ks`` are distinct integers >= 1; when evaluated, for a K beyond the gallery.
    """

    def __init__(self, ks: Sequence[int] = (1, 10)) -> None:
        self.ks = checked_ks(ks)

    def ranks_needed(self, context: EvaluationContext) -> Depth:
        return Depth(every=largest_k(self.ks, context, "PrecisionAtK"))

    def from_ranks(self, ranks: MatchRanks) -> dict[str, Array]:
        return {f"precision@{k}": ranks.sum_by_query(ranks.rank <= k) / k for k in self.ks}

    def protocol(self) -> dict[str, object]:
        return {"ks": list(self.ks)}
