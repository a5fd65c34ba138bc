"""Normalised mutual information of clusters and classes."""

from __future__ import annotations

from typing import Literal

from sklearn.metrics import normalized_mutual_info_score

from metricforge.evaluation.evaluator import ClusterEvaluator
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class NMI(ClusterEvaluator):
    """Mutual information of clusters and classes over the mean of their entropies, in 0..1.

    ``nmi`` is ``2 I / (H1 + H2)``, with the arithmetic mean; ``nmi_geometric`` is ``I / sqrt(H1 H2)``. There are as
    many clusters as classes. Queries without a match take part; a gallery does not. One class alone scores 1: nothing
    is confused.

    Args:
        normalization: "arithmetic" or "geometric".

    Raises:
        ValueError: for another ``normalization``.
    """

    def __init__(self, normalization: Literal["arithmetic", "geometric"] = "arithmetic") -> None:
        if normalization not in ("arithmetic", "geometric"):
            raise ValueError(f'normalization must be "arithmetic" or "geometric", got {normalization!r}')
        self.normalization = normalization

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        score = normalized_mutual_info_score(
            context.queries.labels, context.clusters(), average_method=self.normalization
        )
        return {"nmi" if self.normalization == "arithmetic" else "nmi_geometric": float(score)}

    def protocol(self) -> dict[str, object]:
        return {"normalization": self.normalization, **super().protocol()}
