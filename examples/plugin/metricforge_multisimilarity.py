"""The multi-similarity loss (Wang et al., CVPR 2019): a whole plug-in in one file."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge import LOSSES, Loss, LossOutput, Similarity, functional


@LOSSES.register_module()
class MultiSimilarityLoss(Loss):
    """Eq. 15 of the paper over cosine similarities, without its miner: soft hinges of every pair, for each anchor."""

    def __init__(self, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5) -> None:
        super().__init__()
        functional.check_at_least("alpha", alpha, 0, open_end=True)
        functional.check_at_least("beta", beta, 0, open_end=True)
        self.alpha, self.beta, self.base = alpha, beta, base

    def forward(
        self, embeddings: Tensor, labels: Tensor, tuples: None = None, similarity: Similarity | None = None
    ) -> LossOutput:
        functional.check_batch(embeddings, labels)
        scores = functional.pairwise_cosine(embeddings, embeddings) - self.base  # (B, B)
        positive, negative = functional.positive_mask(labels), functional.negative_mask(labels)
        pull = _log_one_plus_sum_exp(-self.alpha * scores, positive) / self.alpha  # (B,)
        push = _log_one_plus_sum_exp(self.beta * scores, negative) / self.beta  # (B,)
        usable = positive.any(dim=1) & negative.any(dim=1)  # (B,)
        total = ((pull + push) * usable).sum() / usable.sum().clamp_min(1)
        return LossOutput(total, {"pull": pull.mean(), "push": push.mean()})


def _log_one_plus_sum_exp(exponents: Tensor, mask: Tensor) -> Tensor:
    """``log(1 + sum exp)`` of the masked entries of each row (B, B) -> (B,), stable for large exponents."""
    masked = exponents.masked_fill(~mask, float("-inf"))
    return torch.cat([masked, masked.new_zeros(len(masked), 1)], dim=1).logsumexp(dim=1)
