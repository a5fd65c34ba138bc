"""The hardest positive pair of a batch, with the hardest negative of each of its two ends."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from metricforge import MINERS, Quadruplets, Similarity, functional
from metricforge_pddm.hardest_pair_miner import By, HardestPairMiner, Per


@MINERS.register_module()
class HardQuadrupletMiner(HardestPairMiner):
    """Mines hard quadruplets (i, j, k, l) of the similarity S (Huang et al., NIPS 2016, Eq. 3).

    ``(i, j) = argmin S`` over the positive pairs, ``k = argmax S_ik`` over the negatives of i, ``l = argmax S_jl``
    over those of j: one quadruplet a batch, none where the batch has no positive pair or only one class. Nothing here
    is differentiated. In training a similarity with dropout draws new masks when the loss scores the quadruplet, so
    that what was hardest here need not be hardest there.

    Deviations, off by default: ``per`` may ask for more quadruplets than the paper's one, from which small data learns
    slowly. And ``negatives="semi_hard"`` takes, for each end of a pair, the most alike negative that is less alike than
    the pair, or the least alike one if none is: with the hardest of both, E_m is above 2 alpha as long as a batch has a
    negative pair more alike than a positive one, and a score that is the same for all pairs would lower it to 2 alpha.

    Args:
        by: ``"score"``, the similarity that the model trains; or ``"euclidean"``, minus the distance of L2-normalised
            embeddings (the paper's Figure 4 compares the two), for which the similarity is not used.
        per: the hardest positive pair of the ``"batch"``, of each ``"class"``, or of each image as ``"anchor"``; or
            every positive ``"pair"``.
        negatives: ``"hard"`` or ``"semi_hard"``.

    Raises:
        ValueError: for another ``by``, ``per`` or ``negatives``, or a malformed batch.
    """

    yields = Quadruplets

    def __init__(self, by: By = "score", per: Per = "batch", negatives: Literal["hard", "semi_hard"] = "hard") -> None:
        super().__init__(by, per)
        if negatives not in ("hard", "semi_hard"):
            raise ValueError(f'negatives must be "hard" or "semi_hard", got {negatives!r}')
        self.negatives = negatives

    @torch.no_grad()
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Quadruplets:
        anchor, positive, hardest_negative, _, scores = self.hardest_pairs(embeddings, labels, similarity)
        if self.negatives == "hard" or len(anchor) == 0:
            return Quadruplets(anchor, positive, hardest_negative[anchor], hardest_negative[positive])
        negative = functional.negative_mask(labels)  # (B, B)
        limits = scores[anchor, positive]  # (T,)
        ends = [_semi_hard(scores[end], negative[end], limits) for end in (anchor, positive)]  # (T,) each
        return Quadruplets(anchor, positive, *ends)


def _semi_hard(scores: Tensor, negative: Tensor, limits: Tensor) -> Tensor:
    """The column (T,) of each row's largest of ``scores`` (T, B) at a ``negative`` below its limit, or the smallest."""
    less_alike, found = functional.most_alike(scores, negative & (scores < limits[:, None]))
    return torch.where(found, less_alike, functional.least_alike(scores, negative)[0])
