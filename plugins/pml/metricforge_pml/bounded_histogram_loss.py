"""HistogramLoss that takes duplicate embeddings."""

from __future__ import annotations

import torch
from pytorch_metric_learning.losses import HistogramLoss
from torch import Tensor


class BoundedHistogramLoss(HistogramLoss):
    """HistogramLoss where a cosine of 1, which by rounding may be a little more, is put a millionth below.

    Over there (2.9) it falls behind the last bin: an IndexError on the CPU, a dead process on a GPU.
    """

    def compute_density(self, distances: Tensor) -> Tensor:
        at_one = (distances > 1 - 1e-6) & (distances < 1 + 1e-5)  # beyond, it is no cosine, and an error it stays
        return super().compute_density(torch.where(at_one, 1 - 1e-6, distances))
