"""Evaluators that run others on another ranking of the same images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from metricforge.arrays import Array
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import evaluate
from metricforge.interfaces import Evaluator


class NestedEvaluator(Evaluator):
    """Scores of ``evaluators`` on ``ranking(context)``; the names of their scores are led by ``name`` and a slash.

    Raises:
        ValueError: for an empty ``name``.
    """

    def __init__(self, name: str, evaluators: Sequence[Evaluator]) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f'name must say how these scores are told from the others, such as "binary", got {name!r}')
        self.name = name
        self.evaluators = tuple(evaluators)

    @abstractmethod
    def ranking(self, context: EvaluationContext) -> EvaluationContext:
        """The images of ``context`` under another ranking; for the same context the same object, with what it knows."""

    def neighbours_needed(self, context: EvaluationContext) -> int:
        for evaluator in self.evaluators:
            evaluator.neighbours_needed(context)  # refuses a K beyond the gallery before anything is searched
        return 0

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        scores = evaluate(self.ranking(context), self.evaluators)
        return {f"{self.name}/{score}": value for score, value in scores.items()}

    def per_query(self, context: EvaluationContext) -> dict[str, Array]:
        ranking = self.ranking(context)
        return {
            f"{self.name}/{score}": values
            for evaluator in self.evaluators
            for score, values in ranking.per_query(evaluator).items()
        }

    def counted_queries(self, context: EvaluationContext) -> dict[str, Array]:
        ranking = self.ranking(context)
        return {
            f"{self.name}/{score}": counted
            for evaluator in self.evaluators
            for score, counted in evaluator.counted_queries(ranking).items()
        }

    def counts(self, context: EvaluationContext) -> dict[str, int]:
        ranking = self.ranking(context)
        return {
            f"{type(evaluator).__name__}/{key}": count
            for evaluator in self.evaluators
            for key, count in evaluator.counts(ranking).items()
        }

    def protocol(self) -> dict[str, object]:
        return {"evaluators": [{"type": type(each).__name__, **each.protocol()} for each in self.evaluators]}
