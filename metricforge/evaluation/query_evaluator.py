"""Evaluators whose scores are means of one value a query."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.interfaces import Evaluator


class QueryEvaluator(Evaluator):
    """Scores that are the mean of ``per_query`` over the queries that have a match in the gallery."""

    @abstractmethod
    def per_query(self, context: EvaluationContext) -> dict[str, np.ndarray[Any, Any]]: ...

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        return {name: context.mean_over_queries(values) for name, values in context.per_query(self).items()}
