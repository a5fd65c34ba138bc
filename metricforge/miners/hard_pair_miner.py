"""The hardest pairs of each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.functional.embedding_checks import check_batch
from metricforge.functional.pair_masks import negative_mask, positive_mask
from metricforge.functional.row_choice import least_alike, most_alike
from metricforge.interfaces import Miner, Similarity
from metricforge.registry import MINERS
from metricforge.structures import Pairs


@MINERS.register_module()
class HardPairMiner(Miner):
    """Each sample with its least alike positive and with its most alike negative, by the similarity.

    At most 2B pairs, ``first < second`` and in row order; a pair that two samples choose is listed once.

    Raises:
        ValueError: for a batch of the wrong shapes or types.
    """

    yields = Pairs

    @torch.no_grad()
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Pairs:
        check_batch(embeddings, labels)
        scores = similarity.pairwise(embeddings, embeddings)  # (B, B)
        chosen = torch.zeros_like(scores, dtype=torch.bool)  # (B, B)
        rows = torch.arange(len(labels), device=labels.device)
        for partner, found in (
            least_alike(scores, positive_mask(labels)),
            most_alike(scores, negative_mask(labels)),
        ):
            chosen[rows[found], partner[found]] = True
        first, second = torch.nonzero((chosen | chosen.T).triu(), as_tuple=True)  # (P,)
        return Pairs(first, second, labels[first] == labels[second])
