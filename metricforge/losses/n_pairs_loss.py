"""N-pairs loss: each anchor must be more alike its own positive than the positives of all other classes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from metricforge.functional.distances import in_float32
from metricforge.functional.embedding_checks import check_at_least, check_batch, check_tuples
from metricforge.interfaces import Loss, Similarity
from metricforge.registry import LOSSES
from metricforge.structures import LossOutput, Tuples


@LOSSES.register_module()
class NPairsLoss(Loss):
    """Multi-class N-pair loss (N-pair-mc) of one anchor and one positive a class.

    Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective" (NIPS 2016): the mean over N classes of
    ``log(1 + sum_{j != i} exp(f_i.g_j - f_i.g_i))``, f_i the anchor of class i and g_i its positive: cross entropy
    over inner products. To it ``l2_weight`` times the mean of |f|^2 over the 2N embeddings used is added. Embeddings
    (B, D) are not normalised, as in the paper, which is why it holds their length by regularisation.

    Which images of a batch are used: a class with two or more gives one anchor and one positive, other classes give
    none. With ``pick="random"`` these are two different images of the class, each ordered pair as likely as any other,
    drawn from torch's global generator of the labels' device; with ``pick="first"`` the anchor is the class's first row
    and the positive its second, so that the value depends on the batch's order where a class has more than two.

    The formula compares differences of inner products, ``f_i.(g_j - g_i)``, so an offset that all positives share is
    taken from them; one of the anchors counts, and is left. Embeddings far from the origin so keep their digits.

    Where fewer than two classes have two images, no anchor has a negative and the cross entropy is 0; the length still
    counts, over all embeddings of the batch if no class has two. Half types are computed in
    float32, also under autocast. ``similarity`` is not used. It takes no tuples.

    Parts: ``pairs``, the number N, and ``squared_norm``, the mean of |f|^2.

    Args:
        l2_weight: of the mean squared length, >= 0.
        pick: ``"random"`` or ``"first"``.

    Raises:
        ValueError: for an ``l2_weight`` below 0 or not finite, another ``pick``, or a malformed batch.
        TypeError: for any tuples.
    """

    def __init__(self, l2_weight: float = 0.0, pick: Literal["random", "first"] = "random") -> None:
        super().__init__()
        check_at_least("l2_weight", l2_weight, 0)
        if pick not in ("random", "first"):
            raise ValueError(f'pick must be "random" (two images of a class) or "first" (its first two), got {pick!r}')
        self.l2_weight = l2_weight
        self.pick = pick

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        check_batch(embeddings, labels)
        check_tuples(tuples, self.accepts)
        embeddings = in_float32(embeddings)
        anchor, positive = self._pick(labels)  # (N,)
        anchors, positives = embeddings[anchor], embeddings[positive]  # (N, D)
        used = torch.cat([anchors, positives]) if len(anchor) else embeddings  # (2N or B, D)
        squared_norm = used.square().sum() / max(len(used), 1)
        if len(anchor) < 2:
            total = embeddings[:0].sum()  # connected to the embeddings
        else:
            with torch.autocast(embeddings.device.type, enabled=False):
                # What all positives share leaves the differences of a row as they are, and costs them their digits.
                scores = anchors @ (positives - positives.detach().mean(dim=0)).T  # (N, N), but for a number a row
            total = cross_entropy(scores, torch.arange(len(anchor), device=labels.device))
        if self.l2_weight:
            total = total + self.l2_weight * squared_norm
        return LossOutput(
            total,
            {"pairs": torch.tensor(float(len(anchor)), device=labels.device), "squared_norm": squared_norm.detach()},
        )

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> Tensor | bool:
        """Whether two classes or more have two images, or lengths count, as they do in every batch."""
        if self.l2_weight:
            return True
        ordered = labels.sort().values  # (B,)
        same = ordered[1:] == ordered[:-1]  # (B - 1,)
        begins = same.clone()  # where a class with a second image has its first
        begins[1:] &= ~same[:-1]
        return begins.sum() >= 2

    def _pick(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of each class's anchor and positive (N,), classes in ascending order."""
        if self.pick == "first":
            rows = labels.argsort(stable=True)  # (B,)
        else:
            shuffled = torch.randperm(len(labels), device=labels.device)
            rows = shuffled[labels[shuffled].argsort(stable=True)]  # (B,)
        ordered = labels[rows]
        starts = torch.ones_like(ordered, dtype=torch.bool)  # (B,), where a class begins
        starts[1:] = ordered[1:] != ordered[:-1]
        first = torch.nonzero(starts[:-1] & ~starts[1:]).squeeze(1)  # (N,), begins here and goes on
        return rows[first], rows[first + 1]

    def extra_repr(self) -> str:
        return f"l2_weight={self.l2_weight}, pick={self.pick!r}"
