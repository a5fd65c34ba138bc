"""The circle loss (Sun et al., CVPR 2020): a whole plug-in in one file."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from metricforge import LOSSES, Loss, LossOutput, Similarity, functional


@LOSSES.register_module()
class CircleLoss(Loss):
    """Eq. 6 of the paper over cosine similarities, for each anchor; the weights of Eq. 5 have no gradient."""

    def __init__(self, margin: float = 0.4, scale: float = 80.0) -> None:
        super().__init__()
        functional.check_at_least("margin", margin, 0)
        functional.check_at_least("scale", scale, 0, open_end=True)
        self.margin, self.scale = margin, scale

    def forward(
        self, embeddings: Tensor, labels: Tensor, tuples: None = None, similarity: Similarity | None = None
    ) -> LossOutput:
        functional.check_batch(embeddings, labels)
        scores = functional.pairwise_cosine(embeddings, embeddings)  # (B, B)
        positive, negative = functional.positive_mask(labels), functional.negative_mask(labels)
        pull = (1 + self.margin - scores.detach()).relu() * (1 - self.margin - scores)  # (B, B)
        push = (self.margin + scores.detach()).relu() * (scores - self.margin)  # (B, B)
        usable = positive.any(dim=1) & negative.any(dim=1)  # (B,)
        both = _log_sum_exp(self.scale * pull[usable], positive[usable]) + _log_sum_exp(
            self.scale * push[usable], negative[usable]
        )
        return LossOutput(softplus(both).sum() / usable.sum().clamp_min(1) + 0 * embeddings.sum())


def _log_sum_exp(exponents: Tensor, mask: Tensor) -> Tensor:
    """Return the stable ``log(sum exp)`` of the masked entries of each row (n, B) -> (n,)."""
    return torch.logsumexp(exponents.masked_fill(~mask, float("-inf")), dim=1)
