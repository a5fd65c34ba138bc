"""Binomial deviance: a smooth penalty of positive pairs that are less alike than a boundary, and negative ones more."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from metricforge.functional.distances import pairwise_cosine
from metricforge.functional.embedding_checks import check_at_least, check_batch, check_tuples
from metricforge.functional.pair_masks import negative_mask, positive_mask
from metricforge.interfaces import Loss, Similarity
from metricforge.registry import LOSSES
from metricforge.structures import LossOutput, Pairs, Tuples


@LOSSES.register_module()
class BinomialDevianceLoss(Loss):
    """The mean over positive pairs of log(1 + e^(-a(S - b))) plus that over negative ones of log(1 + e^(a c (S - b))).

    S is the cosine of the two embeddings, in -1..1. Yi et al., "Deep Metric Learning for Practical Person
    Re-Identification" (2014), in the form of Ustinova and Lempitsky, "Learning Deep Embeddings with Histogram
    Loss" (NIPS 2016): each type of pair has a mean of its own, and the cost c stands in the exponent.

    Without a miner the pairs are all pairs of the batch. Where there is no pair of one type, its mean is 0 and the
    other counts alone; without any pair, the loss is 0 with zero gradients. Half types are computed in float32, also
    under autocast. ``similarity`` is not used: the loss is one of cosines, whatever the miner mined by. Memory is
    O(B^2).

    Parts: ``positive`` and ``negative``, the two means.

    Args:
        alpha: a > 0, how steep it is; 2 in both papers.
        beta: b, the boundary between positive and negative cosines, above -1 and below 1; 0.5 in both papers.
        negative_cost: c > 0, how much steeper it is for negative pairs; Ustinova and Lempitsky take 10 or 25.

    Raises:
        ValueError: for arguments outside these ranges, or a batch of the wrong shapes or types.
        TypeError: for tuples that are not ``Pairs``.
    """

    accepts = (Pairs,)

    def __init__(self, alpha: float = 2.0, beta: float = 0.5, negative_cost: float = 25.0) -> None:
        super().__init__()
        check_at_least("alpha", alpha, 0, open_end=True)
        if not isinstance(beta, (int, float)) or not -1 < beta < 1:
            raise ValueError(f"beta must be a cosine, above -1 and below 1, got {beta!r}")
        check_at_least("negative_cost", negative_cost, 0, open_end=True)
        self.alpha = alpha
        self.beta = beta
        self.negative_cost = negative_cost

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        check_batch(embeddings, labels)
        check_tuples(tuples, self.accepts)
        above = pairwise_cosine(embeddings, embeddings) - self.beta  # (B, B)
        positive, negative = positive_mask(labels), negative_mask(labels)  # (B, B)
        if isinstance(tuples, Pairs):
            above = above[tuples.first, tuples.second]  # (P,)
            positive, negative = tuples.positive, ~tuples.positive  # (P,)
        pull = softplus(-self.alpha * above).where(positive, 0).sum() / positive.sum().clamp_min(1)
        push = softplus(self.alpha * self.negative_cost * above).where(negative, 0).sum() / negative.sum().clamp_min(1)
        return LossOutput(pull + push, {"positive": pull.detach(), "negative": push.detach()})

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> bool:
        """Whether there is a pair of any kind."""
        return len(labels) > 1 if tuples is None else len(tuples) > 0

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}, negative_cost={self.negative_cost}"
