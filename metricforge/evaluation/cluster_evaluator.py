"""Evaluators that compare the clusters of the queries with their classes."""

from __future__ import annotations

from metricforge.evaluation.context import EvaluationContext
from metricforge.interfaces import Evaluator


class ClusterEvaluator(Evaluator):
    """Scores of ``context.clusters()``."""

    def counts(self, context: EvaluationContext) -> dict[str, int]:
        return {} if context.clusters_found is None else {"clusters_found": context.clusters_found}

    def protocol(self) -> dict[str, object]:
        return {"clusters": "those of `clustering`"}
