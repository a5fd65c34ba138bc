"""Mean average precision over the whole ranking."""

from __future__ import annotations

import numpy as np

from metricforge.arrays import Array
from metricforge.evaluation.evaluator import RankEvaluator
from metricforge.evaluation.ranking.match_ranks import Depth, MatchRanks
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class MeanAveragePrecision(RankEvaluator):
    """Mean average precision of the whole ranked gallery, as ``map``, in 0..1.

    A query with matches at ranks r_1 < ... < r_R scores ``1/R sum_i i / r_i``; the mean is over queries with
    R >= 1. Nothing is cut off and nothing interpolated, unlike MAP@R, which looks at R ranks, or the area under an
    interpolated precision-recall curve. It ranks the whole gallery for every query, so that its time, not its memory,
    grows with queries times gallery.
    """

    def ranks_needed(self, context: EvaluationContext) -> Depth:
        return Depth(every=context.gallery_size)

    def from_ranks(self, ranks: MatchRanks) -> dict[str, Array]:
        return {"map": ranks.sum_by_query(ranks.nth / ranks.rank) / np.maximum(ranks.matches, 1)}

    def protocol(self) -> dict[str, object]:
        return {"ranks": "the whole gallery"}
