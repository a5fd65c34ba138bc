"""Multi-similarity loss: each pair weighs by its own similarity and by those of its anchor's other pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.argument_types import is_number
from metricforge.functional.distances import pairwise_cosine
from metricforge.functional.embedding_checks import check_at_least, check_batch, check_tuples
from metricforge.functional.log_sum_exp import log1p_sum_exp
from metricforge.interfaces import Loss, Similarity
from metricforge.registry import LOSSES
from metricforge.structures import DirectedPairs, LossOutput, Pairs, Tuples


@LOSSES.register_module()
class MultiSimilarityLoss(Loss):
    """The mean over anchors of a smooth maximum of their positives' distances and one of their negatives' similarities.

    ``log(1 + sum e^(-alpha (S - base))) / alpha`` over the anchor's positives plus ``log(1 + sum e^(beta (S - base))) /
    beta`` over its negatives, S the cosine: Eq. 15 of Wang et al., "Multi-Similarity Loss with General Pair Weighting
    for Deep Metric Learning" (CVPR 2019). The mean is over all B
    images of the batch, whether mined pairs are theirs or not, as in the paper. Defaults are those of
    pytorch-metric-learning; the paper's are alpha 2, beta 50 and base 1.

    ``DirectedPairs``, which ``MultiSimilarityMiner`` yields, are pairs of their ``first`` alone; other ``Pairs`` are
    pairs of both ends. A pair that is listed twice counts once. Without a miner they are all pairs of the batch.

    A batch of one class pulls, one of all different classes pushes; without any pair, or for no pairs, it is 0 with
    zero gradients. Half types are computed in float32, also under autocast. ``similarity`` is not used: the loss is one
    of cosines, whatever the miner mined by. Memory is O(B^2).

    Parts: ``positive`` and ``negative``, the means of the two terms.

    Args:
        alpha: > 0, how much the least alike positives outweigh the others.
        beta: > 0, how much the most alike negatives outweigh the others.
        base: the cosine, in -1..1, about which both begin to count.

    Raises:
        ValueError: for arguments outside these ranges, or a batch of the wrong shapes or types.
        TypeError: for tuples that are not ``Pairs``.

    Examples:
        >>> from metricforge import LOSSES
        >>> loss = LOSSES.build(dict(type="MultiSimilarityLoss"))
        >>> sorted(loss(torch.eye(3), torch.tensor([0, 0, 1])).parts)
        ['negative', 'positive']
    """

    accepts = (Pairs,)
    mean_over_images = True

    def __init__(self, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5) -> None:
        super().__init__()
        check_at_least("alpha", alpha, 0, open_end=True)
        check_at_least("beta", beta, 0, open_end=True)
        if not is_number(base) or not -1 <= base <= 1:
            raise ValueError(f"base must be a cosine, in -1..1, got {base!r}")
        self.alpha = alpha
        self.beta = beta
        self.base = base

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        check_batch(embeddings, labels)
        check_tuples(tuples, self.accepts)
        above = pairwise_cosine(embeddings, embeddings).sub_(self.base)  # (B, B)
        same = labels[:, None] == labels[None, :]  # (B, B)
        no_positive, no_negative = (~same).fill_diagonal_(True), same  # (B, B)
        if isinstance(tuples, Pairs):
            left_out = _not_listed(tuples, len(labels))  # (B, B)
            no_positive, no_negative = no_positive | left_out, no_negative | left_out
        count = max(len(labels), 1)
        positive = _term(above, -self.alpha, no_positive) / count
        negative = _term(above, self.beta, no_negative) / count
        return LossOutput(positive + negative, {"positive": positive.detach(), "negative": negative.detach()})

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> bool:
        """Whether there is a pair of any kind."""
        return len(labels) > 1 if tuples is None else len(tuples) > 0

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}, base={self.base}"


def _term(above: Tensor, scale: float, left_out: Tensor) -> Tensor:
    """The sum over anchors of ``log(1 + sum exp(scale * above)) / |scale|``, pairs ``left_out`` (B, B) not counted."""
    return log1p_sum_exp((scale * above).masked_fill_(left_out, -torch.inf), dim=1).sum() / abs(scale)


def _not_listed(pairs: Pairs, count: int) -> Tensor:
    """Which ordered pairs (B, B) are not in ``pairs``."""
    left_out = torch.ones(count, count, dtype=torch.bool, device=pairs.first.device)
    left_out[pairs.first, pairs.second] = False
    return left_out if isinstance(pairs, DirectedPairs) else left_out & left_out.T
