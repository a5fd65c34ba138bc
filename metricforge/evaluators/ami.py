"""Adjusted mutual information of clusters and classes."""

from __future__ import annotations

from sklearn.metrics import adjusted_mutual_info_score

from metricforge.evaluation.evaluator import ClusterEvaluator
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class AMI(ClusterEvaluator):
    """Mutual information of clusters and classes, adjusted for chance, as ``ami``, at most 1.

    ``(I - E[I]) / ((H1 + H2) / 2 - E[I])``, where E[I] is the expectation over random clusterings of the same cluster
    sizes (Vinh, Epps and Bailey, JMLR 2010, with the arithmetic mean): 0 is chance, and slightly negative is worse.
    Clusters as for ``NMI``: as many as classes, of the queries alone.
    """

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        score = adjusted_mutual_info_score(context.queries.labels, context.clusters(), average_method="arithmetic")
        return {"ami": float(score)}

    def protocol(self) -> dict[str, object]:
        return {"normalization": "arithmetic", **super().protocol()}
