"""Mean average precision at R."""

from __future__ import annotations

from typing import Any

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.query_evaluator import QueryEvaluator
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class MAPAtR(QueryEvaluator):
    """MAP@R of Musgrave, Belongie and Lim, "A Metric Learning Reality Check" (ECCV 2020), as ``map@r``, in 0..1.

    A query whose class has R other images in the gallery scores ``1/R sum_{i<=R} P(i)``, where P(i) is the precision of
    its first i neighbours if the i-th is right and 0 otherwise; the mean is over queries with R >= 1.
    """

    def neighbours_needed(self, context: EvaluationContext) -> int:
        return max(1, int(context.matches.max()))

    def per_query(self, context: EvaluationContext) -> dict[str, np.ndarray[Any, Any]]:
        hits = context.hits(self.neighbours_needed(context))  # (Q, R)
        total = np.zeros(len(hits))  # (Q,)
        found = np.zeros(len(hits), dtype=np.int64)  # (Q,)
        # Rank by rank: as a matrix of doubles, a class of thousands would need gigabytes.
        for rank in range(1, hits.shape[1] + 1):
            counted = hits[:, rank - 1] & (rank <= context.matches)
            found += counted
            total += counted * (found / rank)
        return {"map@r": total / np.maximum(context.matches, 1)}
