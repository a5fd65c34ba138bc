"""Evaluators that run others on another ranking of the same images."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.interfaces import Evaluator


class NestedEvaluator(Evaluator):
    """Scores of ``evaluators`` on ``ranking(context)``; the names of their scores are led by ``name`` and a slash."""

    name: str
    evaluators: tuple[Evaluator, ...]

    @abstractmethod
    def ranking(self, context: EvaluationContext) -> EvaluationContext:
        """The images of ``context`` under another ranking; for the same context the same object, with what it knows."""

    def per_query(self, context: EvaluationContext) -> dict[str, np.ndarray[Any, Any]]:
        ranking = self.ranking(context)
        return {
            f"{self.name}/{score}": values
            for evaluator in self.evaluators
            for score, values in ranking.per_query(evaluator).items()
        }

    def counts(self, context: EvaluationContext) -> dict[str, int]:
        ranking = self.ranking(context)
        return {
            f"{type(evaluator).__name__}/{key}": count
            for evaluator in self.evaluators
            for key, count in evaluator.counts(ranking).items()
        }
