"""The hardest positive pair of a batch, with the hardest negative of each of its two ends."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from metricforge import MINERS, Miner, Quadruplets, Similarity, functional


@MINERS.register_module()
class HardQuadrupletMiner(Miner):
    """Mines hard quadruplets (i, j, k, l) of the similarity S (Huang et al., NIPS 2016, Eq. 3).

    ``(i, j) = argmin S`` over the positive pairs, ``k = argmax S_ik`` over the negatives of i, ``l = argmax S_jl``
    over those of j: one quadruplet a batch, none where the batch has no positive pair or only one class. Nothing here
    is differentiated. In training a similarity with dropout draws new masks when the loss scores the quadruplet, so
    that what was hardest here need not be hardest there.

    Deviation, off by default: ``per`` may ask for more quadruplets than the paper's one, from which small data learns
    slowly.

    Args:
        by: ``"score"``, the similarity that the model trains; or ``"euclidean"``, minus the distance of L2-normalised
            embeddings (the paper's Figure 4 compares the two), for which the similarity is not used.
        per: the hardest positive pair of the ``"batch"``, of each ``"class"``, or of each image as ``"anchor"``.

    Raises:
        ValueError: for another ``by`` or ``per``, or a malformed batch.
    """

    yields = Quadruplets

    def __init__(
        self,
        by: Literal["score", "euclidean"] = "score",
        per: Literal["batch", "class", "anchor"] = "batch",
    ) -> None:
        super().__init__()
        if by not in ("score", "euclidean"):
            raise ValueError(f'by must be "score" or "euclidean", got {by!r}')
        if per not in ("batch", "class", "anchor"):
            raise ValueError(f'per must be "batch", "class" or "anchor", got {per!r}')
        self.by = by
        self.per = per

    @torch.no_grad()
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Quadruplets:
        functional.check_batch(embeddings, labels)
        if self.by == "score":
            scores = similarity.pairwise(embeddings, embeddings)  # (B, B)
        else:
            unit = functional.l2_normalize(embeddings)  # (B, D)
            scores = -functional.pairwise_squared_distances(unit, unit)  # (B, B)

        negative = functional.negative_mask(labels)  # (B, B)
        positive = functional.positive_mask(labels) & negative.any(dim=1)[:, None]  # (B, B)
        if self.per != "anchor":
            positive = positive.triu()  # both orders of a pair are one quadruplet
        hardness, partner = scores.masked_fill(~positive, torch.inf).min(dim=1)  # (B,), (B,)
        if self.per == "batch":
            hardness, anchor = hardness.min(dim=0, keepdim=True)  # (1,), (1,)
        elif self.per == "class":
            member = labels[:, None] == torch.unique(labels)[None, :]  # (B, C)
            hardness, anchor = hardness[:, None].where(member, torch.inf).min(dim=0)  # (C,), (C,)
        else:
            anchor = torch.arange(len(labels), device=labels.device)  # (B,)

        # Infinite: no positive pair here. Not `isfinite`, which would drop NaN scores before the loss can show them.
        anchor = anchor[~hardness.isposinf()]  # (T,)
        hardest_negative = scores.masked_fill(~negative, -torch.inf).argmax(dim=1)  # (B,)
        return Quadruplets(anchor, partner[anchor], hardest_negative[anchor], hardest_negative[partner[anchor]])
