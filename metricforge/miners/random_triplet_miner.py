"""Each positive pair with a random negative."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.functional.embedding_checks import check_batch
from metricforge.functional.pair_masks import negative_mask, positive_mask
from metricforge.functional.row_choice import random_choice
from metricforge.interfaces import Miner, Similarity
from metricforge.registry import MINERS
from metricforge.structures import Triplets


@MINERS.register_module()
class RandomTripletMiner(Miner):
    """Each ordered positive pair with one negative, drawn evenly among those of the batch.

    Draws from torch's global generator of the labels' device; the similarity is not used.

    Raises:
        ValueError: for a batch of the wrong shapes or types.
    """

    yields = Triplets
    uses_similarity = False

    @torch.no_grad()
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Triplets:
        check_batch(embeddings, labels)
        anchor, positive = torch.nonzero(positive_mask(labels), as_tuple=True)  # (P,)
        negative, found = random_choice(negative_mask(labels), anchor)  # (P,)
        return Triplets(anchor[found], positive[found], negative[found])
