"""The same clustering scores by another clustering, beside those by k-means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import EvaluationPlan, check_evaluators
from metricforge.evaluators.nested import NestedEvaluator
from metricforge.interfaces import Clustering, Evaluator
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class ScoresByClustering(NestedEvaluator):
    """Run ``evaluators`` on the same images clustered by ``clustering``; ``nmi`` becomes ``<name>/nmi``.

    Affinity propagation, as in the lifted structure paper, beside the usual k-means::

        dict(
            type="ScoresByClustering",
            name="affinity",
            clustering=dict(type="AffinityPropagation"),
            evaluators=[dict(type="NMI"), dict(type="PairF1")],
        )

    The clusters are found once for all of ``evaluators``.

    Args:
        name: the prefix of the score names.
        clustering: groups the queries.
        evaluators: what to score, at least one.

    Raises:
        ValueError: for an empty ``name``, no clustering, or ``evaluators`` that are not a list of evaluators.
    """

    def __init__(self, name: str, clustering: Clustering, evaluators: Sequence[Evaluator]) -> None:
        if not isinstance(clustering, Clustering):
            raise ValueError(
                f'clustering must be one, such as dict(type="AffinityPropagation"), got {type(clustering).__name__}'
            )
        check_evaluators(evaluators)
        super().__init__(name, evaluators)
        self.clustering = clustering

    def plan(self, context: EvaluationContext) -> EvaluationPlan:
        inner = super().plan(context)
        return replace(inner, outer_neighbours=inner.neighbours)  # it is the same ranking

    def ranking(self, context: EvaluationContext) -> EvaluationContext:
        return context.clustered_by(self.clustering)

    def protocol(self) -> dict[str, object]:
        return {"name": self.name, "clustering": self.clustering.protocol(), **super().protocol()}
