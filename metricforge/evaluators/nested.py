"""Evaluators that run others on another ranking of the same images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from metricforge.arrays import Array
from metricforge.evaluation.context import EvaluationContext, full_context
from metricforge.evaluation.evaluate import (
    CompositeEvaluator,
    EvaluationPlan,
    EvaluatorResult,
    plan_evaluation,
    run_evaluation,
)
from metricforge.interfaces import EvaluationContext as ReadableContext
from metricforge.interfaces import Evaluator


class NestedEvaluator(CompositeEvaluator):
    """Scores of ``evaluators`` on ``ranking(context)``, their names prefixed with ``name`` and a slash.

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
        """Return another ranking of the images of ``context``, the same object each time, so that its caches last."""

    def plan(self, context: EvaluationContext) -> EvaluationPlan:
        return plan_evaluation(context, self.evaluators)

    def run(self, context: EvaluationContext, plan: EvaluationPlan, *, nearest: bool = False) -> EvaluatorResult:
        inner = run_evaluation(self.ranking(context), plan, nearest=nearest)
        scores = {f"{self.name}/{score}": value for score, value in inner.scores.items()}
        return EvaluatorResult(self, context, scores, {}, inner, self.name)

    def per_query(self, context: ReadableContext) -> dict[str, Array]:
        searched = full_context(context)
        return self.run(searched, self.plan(searched)).per_query()

    def counted_queries(self, context: ReadableContext) -> dict[str, Array]:
        ranking = self.ranking(full_context(context))
        return {
            f"{self.name}/{score}": counted
            for evaluator in self.evaluators
            for score, counted in evaluator.counted_queries(ranking).items()
        }

    def counts(self, context: ReadableContext) -> dict[str, int]:
        ranking = self.ranking(full_context(context))
        return {
            f"{type(evaluator).__name__}/{key}": count
            for evaluator in self.evaluators
            for key, count in evaluator.counts(ranking).items()
        }

    def protocol(self) -> dict[str, object]:
        return {"evaluators": [{"type": type(each).__name__, **each.protocol()} for each in self.evaluators]}
