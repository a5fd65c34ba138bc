"""The hardest triplet of each anchor."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.functional.embedding_checks import check_batch
from metricforge.functional.pair_masks import negative_mask, positive_mask
from metricforge.functional.row_choice import least_alike, most_alike
from metricforge.interfaces import Miner, Similarity
from metricforge.registry import MINERS
from metricforge.structures import Triplets


@MINERS.register_module()
class HardTripletMiner(Miner):
    """For each anchor its least alike positive and its most alike negative, by the similarity: at most B triplets.

    "Batch hard" of Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification" (2017), Eq. 5. An
    anchor without a positive or without a negative has no triplet.

    Raises:
        ValueError: for a batch of the wrong shapes or types.
    """

    yields = Triplets

    @torch.no_grad()
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Triplets:
        check_batch(embeddings, labels)
        scores = similarity.pairwise(embeddings, embeddings)  # (B, B)
        positive, has_positive = least_alike(scores, positive_mask(labels))  # (B,)
        negative, has_negative = most_alike(scores, negative_mask(labels))  # (B,)
        anchor = torch.nonzero(has_positive & has_negative).squeeze(1)  # (T,)
        return Triplets(anchor, positive[anchor], negative[anchor])
