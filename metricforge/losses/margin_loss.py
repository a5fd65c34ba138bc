"""Margin loss: positive distances below a boundary and negative ones above it, each by a margin."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from metricforge.functional.distances import pairwise_distances
from metricforge.functional.embedding_checks import check_at_least, check_batch, check_count, check_tuples
from metricforge.functional.pair_masks import has_positive_and_negative, negative_mask, positive_mask
from metricforge.interfaces import Loss, Similarity
from metricforge.registry import LOSSES
from metricforge.structures import LossOutput, Pairs, Triplets, Tuples


@LOSSES.register_module()
class MarginLoss(Loss):
    """The hinge [margin + D - beta]_+ of positive pairs and [margin + beta - D]_+ of negative ones, D Euclidean.

    Wu et al., "Sampling Matters in Deep Embedding Learning" (ICCV 2017), section 4.2. The boundary beta may be learned,
    one for all or one for each class, that of a pair's anchor; the paper's boundary of each image is left out. Its
    regulariser is ``nu`` times the boundary, here the mean boundary of the anchors, so that ``nu`` means the same
    whatever the number of pairs. The paper's embeddings have length 1, which its 1.2 and 0.2 are made for; none is
    scaled here.

    ``Triplets`` are two pairs each, both with the anchor's boundary. ``Pairs`` are unordered: each counts from both
    ends, which differs from once only if classes have boundaries of their own. Without a miner they are every triplet
    of the batch, in O(B^2) time and memory: a positive pair counts once for each negative of its anchor, a negative
    pair once for each positive, so that the two types weigh the same.

    Without a miner a pair counts with those of the other kind, so a batch of one kind gives 0 with zero gradients;
    given pairs count by themselves, and no tuples give 0. Half types are computed in float32, also under autocast.
    ``similarity`` is not used: the loss is one of Euclidean distances, whatever the miner mined by.

    Parts: ``active``, the fraction of hinges above zero, in 0..1, and ``beta``, the mean boundary of the anchors.

    Args:
        margin: >= 0, in units of D.
        beta: the boundary > 0, or where it starts from.
        boundary: ``"fixed"``, ``"shared"`` (learned, one for all) or ``"per_class"`` (learned, one a class).
        nu: >= 0, how much a large boundary costs; 0 if it is fixed.
        average: ``"active"`` divides the sum by the number of hinges above zero, as the released code does; ``"all"``
            by the number of hinges.
        num_classes: C >= 1, the classes of the training set, for ``"per_class"``; labels are 0..C-1 then, which is
            checked on the CPU only.

    Raises:
        ValueError: for arguments outside these ranges, a batch of the wrong shapes or types, or a label outside 0..C-1.
        TypeError: for tuples that are neither ``Pairs`` nor ``Triplets``.
    """

    accepts = (Pairs, Triplets)
    beta: Tensor

    def __init__(
        self,
        margin: float = 0.2,
        beta: float = 1.2,
        boundary: Literal["fixed", "shared", "per_class"] = "shared",
        nu: float = 0.0,
        average: Literal["active", "all"] = "active",
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check_at_least("margin", margin, 0)
        check_at_least("beta", beta, 0, open_end=True)
        check_at_least("nu", nu, 0)
        if boundary not in ("fixed", "shared", "per_class"):
            raise ValueError(f'boundary must be "fixed", "shared" or "per_class", got {boundary!r}')
        if average not in ("active", "all"):
            raise ValueError(f'average must be "active" (hinges above zero) or "all", got {average!r}')
        if nu > 0 and boundary == "fixed":
            raise ValueError(f'nu ({nu}) has no effect on a fixed boundary; set nu=0 or boundary="shared"')
        starts = torch.tensor(float(beta))  # ()
        if boundary == "per_class":
            if num_classes is None:
                raise ValueError(
                    'boundary="per_class" needs num_classes; give the number of classes of the training set'
                )
            check_count("num_classes", num_classes)
            starts = starts.repeat(num_classes)  # (C,)
        self.margin = margin
        self.boundary = boundary
        self.nu = nu
        self.average = average
        if boundary == "fixed":
            self.register_buffer("beta", starts)
        else:
            self.beta = nn.Parameter(starts)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        check_batch(embeddings, labels)
        check_tuples(tuples, self.accepts)
        distances = pairwise_distances(embeddings, embeddings)  # (B, B)
        beta = self._boundaries(labels).to(distances.dtype)  # (B,)
        if tuples is None:
            same, other = positive_mask(labels).to(beta.dtype), negative_mask(labels).to(beta.dtype)  # (B, B)
            # Each pair as often as it is in a triplet.
            weights = same * other.sum(dim=1)[:, None] + other * same.sum(dim=1)[:, None]  # (B, B)
            hinges = ((same - other) * (distances - beta[:, None]) + self.margin).relu()  # (B, B)
            anchor_weights = weights.sum(dim=1)  # (B,)
            hinge_sum, active = (weights * hinges).sum(), (weights * hinges.detach().sign()).sum()
        else:
            anchor, partner, positive = _pairs_of(tuples)  # (P,)
            sides = 2 * positive.to(beta.dtype) - 1
            hinges = (sides * (distances[anchor, partner] - beta[anchor]) + self.margin).relu()  # (P,)
            hinge_sum, active = hinges.sum(), (hinges > 0).sum().to(beta.dtype)
            anchor_weights = torch.bincount(anchor, minlength=len(labels)).to(beta.dtype)  # (B,)
        hinge_count = anchor_weights.sum()
        mean_beta = (anchor_weights * beta).sum() / hinge_count.clamp_min(1)
        total = hinge_sum / (active if self.average == "active" else hinge_count).clamp_min(1)
        if self.nu:
            total = total + self.nu * mean_beta
        return LossOutput(total, {"active": active / hinge_count.clamp_min(1), "beta": mean_beta.detach()})

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> Tensor | bool:
        """Whether there are tuples, or a triplet to be made of the batch."""
        return has_positive_and_negative(labels) if tuples is None else len(tuples) > 0

    def _boundaries(self, labels: Tensor) -> Tensor:
        """The boundary (B,) of each sample as an anchor."""
        if self.boundary != "per_class":
            return self.beta.expand(len(labels))
        if labels.device.type == "cpu":
            outside = labels[(labels < 0) | (labels >= len(self.beta))]
            if len(outside):
                raise ValueError(
                    f"label {int(outside[0])} is outside 0..{len(self.beta) - 1} (num_classes={len(self.beta)}); "
                    "leave num_classes out of the config and it is filled in, or number the classes from 0 on"
                )
        return self.beta[labels]

    def extra_repr(self) -> str:
        return f"margin={self.margin}, boundary={self.boundary!r}, nu={self.nu}, average={self.average!r}"


def _pairs_of(tuples: Tuples) -> tuple[Tensor, Tensor, Tensor]:
    """Anchor, partner and whether they are of one class, each (P,)."""
    if isinstance(tuples, Pairs):
        return (
            torch.cat([tuples.first, tuples.second]),
            torch.cat([tuples.second, tuples.first]),
            torch.cat([tuples.positive, tuples.positive]),
        )
    assert isinstance(tuples, Triplets)
    negatives = torch.zeros_like(tuples.anchor, dtype=torch.bool)
    return (
        torch.cat([tuples.anchor, tuples.anchor]),
        torch.cat([tuples.positive, tuples.negative]),
        torch.cat([~negatives, negatives]),
    )
