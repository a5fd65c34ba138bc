"""Mean average precision over the whole ranking."""

from __future__ import annotations

from typing import Any

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.query_evaluator import QueryEvaluator
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class MeanAveragePrecision(QueryEvaluator):
    """Mean average precision of the whole ranked gallery, as ``map``, in 0..1.

    A query with right images at ranks r_1 < ... < r_R scores ``1/R sum_i i / r_i``; the mean is over queries with
    R >= 1. Nothing is cut off and nothing interpolated, unlike MAP@R, which looks at R ranks, or the area under an
    interpolated precision-recall curve. It ranks the whole gallery for every query, so that its time, not its memory,
    grows with queries times gallery.
    """

    def per_query(self, context: EvaluationContext) -> dict[str, np.ndarray[Any, Any]]:
        return {"map": context.whole_rankings.average_precision}

    def protocol(self) -> dict[str, object]:
        return {"ranks": "the whole gallery"}
