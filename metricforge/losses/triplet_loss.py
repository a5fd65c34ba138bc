"""Triplet loss: a positive must be nearer than a negative by a margin."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from metricforge.functional.distances import pairwise_distances, pairwise_squared_distances
from metricforge.functional.embedding_checks import check_at_least, check_batch, check_tuples
from metricforge.interfaces import Loss, Similarity
from metricforge.registry import LOSSES
from metricforge.structures import LossOutput, Triplets, Tuples


@LOSSES.register_module()
class TripletLoss(Loss):
    """The mean over triplets of the hinge [D_ap - D_an + margin]_+, D the Euclidean distance or its square.

    With ``squared`` it is Eq. 2 of Oh Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding" (CVPR
    2016). Deviations: the paper cuts a batch into disjoint triplets and takes half their mean, here it is the mean of
    those given; without a miner they are every triplet of the batch: each ordered positive pair with each negative.

    All triplets take O(B^2) memory and O(B^2 log K) time, K the samples of the largest class: the hinge is linear where
    it is not zero, so that the sum needs of each distance only how many active triplets it is in, and counting is a
    search among a row's sorted positives.

    No triplet, in the batch or among those given, gives 0 with zero gradients. Half types are computed in float32, also
    under autocast. ``similarity`` is not used: the loss is one of Euclidean distances, whatever the miner mined by.

    Parts: ``active``, the fraction of triplets whose hinge is above zero, in 0..1.

    Args:
        margin: by how much (>= 0) a negative must be farther than the positive, in the units of D (of D^2 if squared).
        squared: whether D is the squared distance.
        average: ``"all"`` divides by the number of triplets, ``"active"`` by that of those above zero. Without a miner
            most triplets soon are zero, and ``"active"`` keeps them from diluting the rest.

    Raises:
        ValueError: for a margin below 0 or not finite, another ``average``, or a batch of the wrong shapes or types.
        TypeError: for tuples that are not ``Triplets``.
    """

    accepts = (Triplets,)

    def __init__(self, margin: float = 0.2, squared: bool = False, average: Literal["all", "active"] = "all") -> None:
        super().__init__()
        check_at_least("margin", margin, 0)
        if average not in ("all", "active"):
            raise ValueError(f'average must be "all" (triplets) or "active" (those above zero), got {average!r}')
        self.margin = margin
        self.value_of_equals = float(margin)
        self.squared = squared
        self.average = average

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        check_batch(embeddings, labels)
        check_tuples(tuples, self.accepts)
        distance = pairwise_squared_distances if self.squared else pairwise_distances
        distances = distance(embeddings, embeddings)  # (B, B)
        if isinstance(tuples, Triplets):
            to_positive = distances[tuples.anchor, tuples.positive]  # (T,)
            hinges = (to_positive - distances[tuples.anchor, tuples.negative] + self.margin).relu()  # (T,)
            hinge_sum = hinges.sum()
            active = (hinges > 0).sum()
            triplets = torch.tensor(len(tuples), device=embeddings.device)
        else:
            slopes, active, triplets = _hinge_slopes(distances.detach(), labels, self.margin)
            hinge_sum = (slopes * distances).sum() + self.margin * active.to(distances.dtype)
        count = active if self.average == "active" else triplets
        return LossOutput(hinge_sum / count.clamp_min(1), {"active": active / triplets.clamp_min(1)})

    def extra_repr(self) -> str:
        return f"margin={self.margin}, squared={self.squared}, average={self.average!r}"


def _hinge_slopes(distances: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """How the sum of all hinges grows with each distance (B, B); how many hinges are above zero; how many there are.

    The slope of a positive is the number of negatives nearer than its limit, its distance plus the margin; that of a
    negative is minus the number of limits above it. Both are read off the negatives' places among a row's limits,
    which are as few as the largest class K has samples.
    """
    batch, device = len(labels), labels.device
    order = labels.argsort(stable=True)  # (B,)
    start = torch.searchsorted(labels[order], labels)  # (B,)
    end = torch.searchsorted(labels[order], labels, right=True)  # (B,)
    size = end - start  # (B,), of each row's class
    width = int(size.max()) if batch else 1  # K

    places = start[:, None] + torch.arange(width, device=device)  # (B, K)
    columns = order[places.clamp_max(max(batch - 1, 0))]  # (B, K), the row's class
    positive = (places < end[:, None]) & (columns != torch.arange(batch, device=device)[:, None])  # (B, K)
    limits = (distances.gather(1, columns) + margin).masked_fill(~positive, -torch.inf)  # (B, K)
    limits, ascending = limits.sort(dim=1)
    columns = columns.gather(1, ascending)

    to_negatives = distances.masked_fill(labels[:, None] == labels[None, :], torch.inf)  # (B, B)
    reached = torch.searchsorted(limits, to_negatives, right=True)  # (B, B), how many limits are not above a negative
    counts = torch.zeros(batch, width + 1, dtype=torch.int64, device=device)
    pull = counts.scatter_add_(1, reached, torch.ones_like(reached)).cumsum(dim=1)[:, :width]  # (B, K)
    slopes = (reached - width).to(distances.dtype)  # (B, B)
    slopes.scatter_add_(1, columns, pull.to(distances.dtype))
    return slopes, pull.sum(), ((size - 1) * (batch - size)).sum()
