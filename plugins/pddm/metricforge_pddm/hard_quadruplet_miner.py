"""The hardest positive pair of a batch, with the hardest negative of each of its two ends."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge import MINERS, Quadruplets, Similarity
from metricforge_pddm.hardest_pair_miner import HardestPairMiner


@MINERS.register_module()
class HardQuadrupletMiner(HardestPairMiner):
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

    @torch.no_grad()
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Quadruplets:
        anchor, positive, hardest_negative, _ = self.hardest_pairs(embeddings, labels, similarity)
        return Quadruplets(anchor, positive, hardest_negative[anchor], hardest_negative[positive])
