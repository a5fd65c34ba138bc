"""Recall@K: whether a match is among the first K."""

from __future__ import annotations

from collections.abc import Sequence

from metricforge.arrays import Array
from metricforge.evaluation.evaluator import RankEvaluator
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks
from metricforge.evaluators.cutoffs import checked_ks, largest_k
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class RecallAtK(RankEvaluator):
    """The share of queries with at least one match among their K nearest images, as ``recall@K``, in 0..1.

    Queries without a match in the gallery are left out. This is Recall@K as metric learning reports it, not the share
    of all matches that were found.

    Args:
        ks: the values of K.

    Raises:
        ValueError: unless ``ks`` are distinct integers >= 1; when evaluated, for a K beyond the gallery.
    """

    def __init__(self, ks: Sequence[int] = (1, 2, 4, 8)) -> None:
        self.ks = checked_ks(ks)

    def ranks_needed(self, context: EvaluationContext) -> Depth:
        return Depth(first=largest_k(self.ks, context, "RecallAtK"))

    def from_ranks(self, ranks: MatchRanks) -> dict[str, Array]:
        return {f"recall@{k}": ranks.first <= k for k in self.ks}

    def protocol(self) -> dict[str, object]:
        return {"ks": list(self.ks)}
