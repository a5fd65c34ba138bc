"""Recall@K: whether an image of the same class is among the first K."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.interfaces import Evaluator
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class RecallAtK(Evaluator):
    """The share of queries with at least one image of their class among their K nearest, as ``recall@K``, in 0..1.

    Queries without a match in the gallery are left out. This is Recall@K as metric learning reports it, not the share
    of all right images that were found.

    Args:
        ks: the values of K.

    Raises:
        ValueError: unless ``ks`` are distinct whole numbers >= 1; when evaluated, for a K beyond the gallery.
    """

    def __init__(self, ks: Sequence[int] = (1, 2, 4, 8)) -> None:
        whole = isinstance(ks, Sequence) and all(isinstance(k, int) and not isinstance(k, bool) and k >= 1 for k in ks)
        if not whole or not ks or len(set(ks)) != len(ks):
            raise ValueError(f"ks must be distinct whole numbers >= 1, such as (1, 2, 4, 8), got {ks!r}")
        self.ks = tuple(ks)

    def neighbours_needed(self, context: EvaluationContext) -> int:
        beyond = [k for k in self.ks if k > context.gallery_size]
        if beyond:
            raise ValueError(
                f"ks of RecallAtK must be at most {context.gallery_size}, the images that a query can find, "
                f"got {list(self.ks)}; leave out {beyond}"
            )
        return max(self.ks)

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        hits = context.hits(self.neighbours_needed(context))  # (Q, K)
        found = np.logical_or.accumulate(hits, axis=1)  # (Q, K): among the first 1, 2, ..., K
        return {f"recall@{k}": context.mean_over_queries(found[:, k - 1]) for k in self.ks}

    def protocol(self) -> dict[str, object]:
        return {"ks": list(self.ks)}
