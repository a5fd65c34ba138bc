"""Precision@K: how many of the first K are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.cutoffs import checked_ks, largest_k
from metricforge.evaluation.query_evaluator import QueryEvaluator
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class PrecisionAtK(QueryEvaluator):
    """The share of right images among the K nearest, as ``precision@K``, in 0..1.

    Always divided by K: a query with fewer than K right images in the gallery cannot reach 1. Queries without a match
    are left out. Precision@1 is Recall@1.

    Args:
        ks: the values of K.

    Raises:
        ValueError: unless ``ks`` are distinct whole numbers >= 1; when evaluated, for a K beyond the gallery.
    """

    def __init__(self, ks: Sequence[int] = (1, 10)) -> None:
        self.ks = checked_ks(ks)

    def neighbours_needed(self, context: EvaluationContext) -> int:
        return largest_k(self.ks, context, "PrecisionAtK")

    def per_query(self, context: EvaluationContext) -> dict[str, np.ndarray[Any, Any]]:
        hits = context.hits(self.neighbours_needed(context))  # (Q, K)
        return {f"precision@{k}": hits[:, :k].sum(axis=1) / k for k in self.ks}

    def protocol(self) -> dict[str, object]:
        return {"ks": list(self.ks)}
