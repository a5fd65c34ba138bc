"""HistogramLoss that takes duplicate embeddings."""

from __future__ import annotations

import torch
from pytorch_metric_learning.losses import HistogramLoss
from torch import Tensor


class BoundedHistogramLoss(HistogramLoss):
    """HistogramLoss where a cosine of 1 is put a millionth below, and one that rounding brought below -1 is put back.

    In pytorch-metric-learning 2.9 the first falls behind the last bin and the second before the first: an error on the
    CPU, a dead process on a GPU.
    """

    def compute_density(self, distances: Tensor) -> Tensor:
        # farther beyond 1 and -1, it is no cosine, and an error it stays
        at_one = (distances > 1 - 1e-6) & (distances < 1 + 1e-5)
        below_minus_one = (distances < -1) & (distances > -1 - 1e-5)
        return super().compute_density(torch.where(at_one, 1 - 1e-6, torch.where(below_minus_one, -1.0, distances)))


# In errors and printed models it is what the config calls it.
BoundedHistogramLoss.__name__ = HistogramLoss.__name__
