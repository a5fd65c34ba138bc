"""Mean average precision at R."""

from __future__ import annotations

import numpy as np

from metricforge.arrays import Array
from metricforge.evaluation.evaluator import RankEvaluator
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class MAPAtR(RankEvaluator):
    """MAP@R of Musgrave, Belongie and Lim, "A Metric Learning Reality Check" (ECCV 2020), as ``map@r``, in 0..1.

    A query whose class has R other images in the gallery scores ``1/R sum_{i<=R} P(i)``, where P(i) is the precision of
    its first i neighbours if the i-th is right and 0 otherwise; the mean is over queries with R >= 1.
    """

    def ranks_needed(self, context: EvaluationContext) -> Depth:
        return Depth(up_to_r=True)

    def from_ranks(self, ranks: MatchRanks) -> dict[str, Array]:
        counted = ranks.rank <= ranks.matches[ranks.row]  # (P,)
        precision = np.where(counted, ranks.nth / ranks.rank, 0)
        return {"map@r": ranks.sum_by_query(precision) / np.maximum(ranks.matches, 1)}
