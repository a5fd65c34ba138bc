"""The hardest positive pair of a batch, with the hardest negative of one of its two ends."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge import MINERS, Similarity, Triplets
from metricforge_pddm.hardest_pair_miner import HardestPairMiner


@MINERS.register_module()
class HardPairTripletMiner(HardestPairMiner):
    """The triplet version of ``HardQuadrupletMiner`` (Huang et al., NIPS 2016, Table 1, PDDM+Triplet).

    ``(i, j) = argmin S`` over the positive pairs, then ``k = argmax S_ik`` over the negatives of the anchor i: one
    triplet a batch. A pair has two ends, and the paper does not say which is the anchor: here it is the one whose
    hardest negative is the more alike, i where they are equal. With ``per="anchor"`` each image is the anchor of its
    own triplet, which is what ``HardTripletMiner`` of the core mines by the model's similarity.

    Nothing here is differentiated.

    Args:
        by: ``"score"``, the similarity that the model trains; or ``"euclidean"``, minus the distance of L2-normalised
            embeddings, for which the similarity is not used.
        per: the hardest positive pair of the ``"batch"``, of each ``"class"``, or of each image as ``"anchor"``; or
            every positive ``"pair"``.

    Raises:
        ValueError: for another ``by`` or ``per``, or a malformed batch.
    """

    yields = Triplets

    @torch.no_grad()
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Triplets:
        anchor, positive, hardest_negative, hardness, _ = self.hardest_pairs(embeddings, labels, similarity)
        if self.per != "anchor":
            swap = hardness[positive] > hardness[anchor]  # (T,)
            anchor, positive = torch.where(swap, positive, anchor), torch.where(swap, anchor, positive)
        return Triplets(anchor, positive, hardest_negative[anchor])
