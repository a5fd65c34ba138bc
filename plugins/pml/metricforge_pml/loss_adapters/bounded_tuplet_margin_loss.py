"""TupletMarginLoss that takes duplicate embeddings."""

from __future__ import annotations

from typing import Any

from pytorch_metric_learning.losses import TupletMarginLoss
from torch import Tensor


class BoundedTupletMarginLoss(TupletMarginLoss):
    """TupletMarginLoss with the cosines of positive pairs at most a millionth below 1, and as far above -1.

    In pytorch-metric-learning 2.9 the arc cosine of a duplicate is NaN, or has an infinite gradient.
    """

    def _compute_loss(self, pos_pairs: Any, neg_pairs: Any, indices_tuple: Any) -> Any:
        if isinstance(pos_pairs, Tensor):  # pytorch-metric-learning passes an empty list for no pairs
            pos_pairs = pos_pairs.clamp(-1 + 1e-6, 1 - 1e-6)
        return super()._compute_loss(pos_pairs, neg_pairs, indices_tuple)

    def set_stats(self, pos_angles: Tensor, neg_pairs: Tensor) -> None:
        super().set_stats(pos_angles, neg_pairs.clamp(-1, 1))


# In errors and printed models it is what the config calls it, and CrossBatchMemory knows losses by their names.
BoundedTupletMarginLoss.__name__ = TupletMarginLoss.__name__
