"""R-precision."""

from __future__ import annotations

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.interfaces import Evaluator
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class RPrecision(Evaluator):
    """The share of right images among the first R, as ``r_precision``, in 0..1.

    R is the number of other images of the query's class in the gallery; the mean is over queries with R >= 1.
    """

    def neighbours_needed(self, context: EvaluationContext) -> int:
        return max(1, int(context.matches.max()))

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        hits = context.hits(self.neighbours_needed(context))  # (Q, R)
        counted = hits & (np.arange(hits.shape[1]) < context.matches[:, None])  # (Q, R)
        return {"r_precision": context.mean_over_queries(counted.sum(axis=1) / np.maximum(context.matches, 1))}
