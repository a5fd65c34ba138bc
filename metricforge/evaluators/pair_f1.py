"""Pair-counting F1 of clusters and classes."""

from __future__ import annotations

from sklearn.metrics.cluster import pair_confusion_matrix

from metricforge.evaluation.evaluator import ClusterEvaluator
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class PairF1(ClusterEvaluator):
    """F1 of the pairs of images that share a cluster, as ``f1``, in 0..1.

    A pair is correct if its images are of one class too. With TP, FP and FN pairs that are together in both, in the
    clusters only and in the classes only, it is ``2 TP / (2 TP + FP + FN)``, the F1 of Song et al. (CVPR 2016). The
    clusters are those of ``NMI``: of the queries alone, by k-means unless told; theirs are by affinity propagation.
    Where neither clusters nor classes hold a pair, they agree: 1.
    """

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        (_, false_positives), (false_negatives, true_positives) = pair_confusion_matrix(
            context.queries.labels, context.clusters()
        )
        pairs = 2 * int(true_positives) + int(false_positives) + int(false_negatives)
        return {"f1": 2 * int(true_positives) / pairs if pairs else 1.0}

    def protocol(self) -> dict[str, object]:
        return {"pairs": "all", **super().protocol()}
