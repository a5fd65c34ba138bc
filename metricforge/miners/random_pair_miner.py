"""All positive pairs of a batch, and random negative ones."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.functional.embedding_checks import check_at_least, check_batch
from metricforge.functional.pair_masks import negative_mask, positive_pairs
from metricforge.interfaces import Miner, Similarity
from metricforge.registry import MINERS
from metricforge.structures import Pairs


@MINERS.register_module()
class RandomPairMiner(Miner):
    """Every positive pair and as many random negative pairs, or all negative pairs if there are fewer.

    The sampling of the code released with "Deep Metric Learning via Lifted Structured Feature Embedding" (CVPR 2016);
    the order of the pairs is not shuffled, as no loss depends on it. Negative pairs are drawn without replacement from
    torch's global generator of the labels' device; the similarity is not used. Pairs have ``first < second``.

    Args:
        negatives_per_positive: how many negative pairs (> 0, may be a fraction) for each positive one.

    Raises:
        ValueError: for another ``negatives_per_positive``, or a batch of the wrong shapes or types.
    """

    yields = Pairs
    uses_similarity = False

    def __init__(self, negatives_per_positive: float = 1.0) -> None:
        super().__init__()
        check_at_least("negatives_per_positive", negatives_per_positive, 0, open_end=True)
        self.negatives_per_positive = negatives_per_positive

    @torch.no_grad()
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Pairs:
        check_batch(embeddings, labels)
        first, second = positive_pairs(labels)  # (P,)
        negatives = torch.nonzero(negative_mask(labels).triu())  # (N, 2)
        wanted = round(len(first) * self.negatives_per_positive)
        drawn = negatives[torch.randperm(len(negatives), device=labels.device)[:wanted]]  # (<= wanted, 2)
        first, second = torch.cat([first, drawn[:, 0]]), torch.cat([second, drawn[:, 1]])
        return Pairs(first, second, labels[first] == labels[second])

    def extra_repr(self) -> str:
        return f"negatives_per_positive={self.negatives_per_positive}"
