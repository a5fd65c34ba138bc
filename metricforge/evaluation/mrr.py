"""Mean reciprocal rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.query_evaluator import QueryEvaluator
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class MRR(QueryEvaluator):
    """The mean of one over the rank of the first right image, as ``mrr``, in 0..1.

    The rank is that in the whole gallery, however deep; queries without a match are left out.
    """

    def per_query(self, context: EvaluationContext) -> dict[str, np.ndarray[Any, Any]]:
        return {"mrr": context.whole_rankings.reciprocal_rank}

    def protocol(self) -> dict[str, object]:
        return {"ranks": "the whole gallery"}
