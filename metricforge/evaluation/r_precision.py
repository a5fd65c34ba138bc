"""R-precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.query_evaluator import QueryEvaluator
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class RPrecision(QueryEvaluator):
    """The share of right images among the first R, as ``r_precision``, in 0..1.

    R is the number of other images of the query's class in the gallery; the mean is over queries with R >= 1.
    """

    def neighbours_needed(self, context: EvaluationContext) -> int:
        return max(1, int(context.matches.max()))

    def per_query(self, context: EvaluationContext) -> dict[str, np.ndarray[Any, Any]]:
        hits = context.hits(self.neighbours_needed(context))  # (Q, R)
        counted = hits & (np.arange(hits.shape[1]) < context.matches[:, None])  # (Q, R)
        return {"r_precision": counted.sum(axis=1) / np.maximum(context.matches, 1)}
