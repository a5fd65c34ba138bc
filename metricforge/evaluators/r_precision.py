"""R-precision."""

from __future__ import annotations

import numpy as np

from metricforge.arrays import Array
from metricforge.evaluation.evaluator import RankEvaluator
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class RPrecision(RankEvaluator):
    """The share of matches among the first R, as ``r_precision``, in 0..1.

    R is the number of other images of the query's class in the gallery; the mean is over queries with R >= 1.
    """

    def ranks_needed(self, context: EvaluationContext) -> Depth:
        return Depth(up_to_r=True)

    def from_ranks(self, ranks: MatchRanks) -> dict[str, Array]:
        counted = ranks.rank <= ranks.matches[ranks.row]  # (P,)
        return {"r_precision": ranks.sum_by_query(counted) / np.maximum(ranks.matches, 1)}
